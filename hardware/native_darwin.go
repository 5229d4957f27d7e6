package hardware

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

func nativeCPU(c *CPU) error {
	var err error
	if c.Model, err = unix.Sysctl("machdep.cpu.brand_string"); err != nil {
		return &UnknownValueError{What: "the processor", Why: err.Error()}
	}
	c.Sockets = 1
	if n, err := unix.SysctlUint32("hw.physicalcpu"); err == nil {
		c.Cores = int(n)
	}
	if n, err := unix.SysctlUint32("hw.packages"); err == nil {
		c.Sockets = int(n)
	}
	if runtime.GOARCH == "arm64" {
		c.Vendor = "Apple"
	}
	return nil
}

func nativeMemory(m *Memory) error {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return &UnknownValueError{What: "memory", Why: err.Error()}
	}
	m.Total = int64(n)
	return &UnknownValueError{What: "the memory that is available", Why: "macOS tells it through its own libraries only"}
}

func nativeSpace(path string) (total, free int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	return int64(st.Blocks) * int64(st.Bsize), int64(st.Bavail) * int64(st.Bsize), nil
}

func nativeSynchronised() (bool, error) {
	return false, errors.New("macOS does not tell it without its own libraries")
}

func nativeOS() (name, kernel string) {
	kernel, _ = unix.Sysctl("kern.osrelease")
	version, _ := unix.Sysctl("kern.osproductversion")
	return "macOS " + version, kernel
}

func kernelLog(file string) (string, error) {
	b, err := os.ReadFile(file)
	return string(b), err
}
