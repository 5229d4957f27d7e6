//go:build !linux && !darwin && !windows

package hardware

import (
	"errors"
	"os"
	"runtime"
)

var errSystem = errors.New(runtime.GOOS + " is not one of the systems that Sinter asks")

func nativeCPU(*CPU) error                              { return &UnknownValueError{What: "the processor", Why: errSystem.Error()} }
func nativeMemory(*Memory) error                        { return &UnknownValueError{What: "memory", Why: errSystem.Error()} }
func nativeSynchronised() (bool, error)                 { return false, errSystem }
func nativeSpace(string) (total, free int64, err error) { return 0, 0, errSystem }
func nativeOS() (name, kernel string)                   { return runtime.GOOS, "" }

func kernelLog(file string) (string, error) {
	b, err := os.ReadFile(file)
	return string(b), err
}
