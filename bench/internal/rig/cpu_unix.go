//go:build unix

package rig

import "syscall"

// cpuSeconds is the processor time of this process on all threads. Other work on
// the machine moves it less than it moves the rate.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
