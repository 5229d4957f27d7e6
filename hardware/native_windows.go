package hardware

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

func nativeCPU(c *CPU) error {
	c.Model = os.Getenv("PROCESSOR_IDENTIFIER")
	return &UnknownValueError{What: "how many cores there are", Why: "Windows tells it through its own libraries only"}
}

var globalMemoryStatus = windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")

func nativeMemory(m *Memory) error {
	s := struct { // MEMORYSTATUSEX
		length, load                                                                           uint32
		total, available, totalPage, availablePage, totalVirtual, availableVirtual, extVirtual uint64
	}{}
	s.length = uint32(unsafe.Sizeof(s))
	if ok, _, err := globalMemoryStatus.Call(uintptr(unsafe.Pointer(&s))); ok == 0 {
		return &UnknownValueError{What: "memory", Why: err.Error()}
	}
	m.Total, m.Available = int64(s.total), int64(s.available)
	return nil
}

func nativeSpace(path string) (total, free int64, err error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, 0, err
	}
	var available, all, allFree uint64
	if err := windows.GetDiskFreeSpaceEx(name, &available, &all, &allFree); err != nil {
		return 0, 0, err
	}
	return int64(all), int64(available), nil
}

func nativeSynchronised() (bool, error) {
	return false, errors.New("Windows does not tell it without its time service")
}

func nativeOS() (name, kernel string) {
	v := windows.RtlGetVersion()
	return "Windows", fmt.Sprintf("%d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
}

func kernelLog(file string) (string, error) {
	b, err := os.ReadFile(file)
	return string(b), err
}
