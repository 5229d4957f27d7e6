//go:build !unix

package main

import "os"

// There is no such signal; the tests that want it are skipped here.
func pause(*os.Process) error   { panic("not here") }
func proceed(*os.Process) error { panic("not here") }
