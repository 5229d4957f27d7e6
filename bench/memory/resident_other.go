//go:build !linux

package main

// resident is not measured on this system.
func resident() string { return "unknown" }
