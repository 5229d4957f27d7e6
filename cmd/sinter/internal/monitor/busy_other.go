//go:build !windows

package monitor

import (
	"errors"
	"runtime"
)

func nativeBusy() (float64, error) {
	return 0, errors.New("the load of the processors is not read on " + runtime.GOOS)
}
