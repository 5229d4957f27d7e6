//go:build !linux

package process

import "os"

func host() string {
	name, _ := os.Hostname()
	return name
}
