//go:build !nogpu && (!((linux && !android) || darwin || windows) || !(amd64 || arm64))

package dl

import "runtime"

const whyNot = "builds for " + runtime.GOOS + "/" + runtime.GOARCH + " have no loader; those for Linux, macOS and Windows on amd64 and arm64 have"
