//go:build !linux

package rig

// Resident is not measured on this system.
func Resident() (now, peak int64) { return 0, 0 }

// ResetPeak does nothing on this system.
func ResetPeak() int64 { return 0 }
