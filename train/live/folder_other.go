//go:build !unix

package live

import "os"

// user is no part of the name: the folder of temporary files is the user's own.
func user() string { return "runs" }

func private(string) error { return nil }

func othersFolders() []string { return nil }

func open(name string) (*os.File, error) { return os.Open(name) }
