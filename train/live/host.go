//go:build !linux

package live

import "os"

func host() string {
	name, _ := os.Hostname()
	return name
}
