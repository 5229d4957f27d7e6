// Package testenv tells tests what they may count on.
//
// Some tests need things that a machine may lack: reference data beside the
// checkout, a device, a tool. Such a test never passes silently without them.
// It skips and says what was missing, or, where the environment variable
// SINTER_REQUIRE (a comma-separated list such as "data,opencl") names the
// thing, it fails: continuous integration sets the variable to everything that
// must be there.
package testenv

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Root is the project's folder: the nearest one upward from the test's working
// directory that holds a go.mod.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatalf("testenv: no go.mod above the test's working directory")
		}
		dir = parent
	}
}

// SharedData is the path of a file or folder of the reference data, which lies
// at ../shared/data from the project's root and is not part of the project.
// Where it is absent the test is skipped, or fails if "data" is required.
func SharedData(t testing.TB, elems ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{filepath.Dir(Root(t)), "shared", "data"}, elems...)...)
	_, err := os.Stat(path)
	why := ""
	if errors.Is(err, fs.ErrNotExist) {
		why = "no reference data at ../shared/data/" + strings.Join(elems, "/")
	} else if err != nil {
		why = err.Error()
	}
	Require(t, "data", err == nil, why)
	return path
}

// Require goes on if ok. Otherwise it skips the test, saying why, or fails it
// if name is on the list of SINTER_REQUIRE.
func Require(t testing.TB, name string, ok bool, why string) {
	t.Helper()
	if ok {
		return
	}
	if Required(name) {
		t.Fatalf("%s (SINTER_REQUIRE names %q, so this is a failure)", why, name)
	}
	t.Skipf("skipped: %s (SINTER_REQUIRE=%s makes this a failure)", why, name)
}

// Required tells whether SINTER_REQUIRE names the thing.
func Required(name string) bool {
	list := strings.FieldsFunc(os.Getenv("SINTER_REQUIRE"), func(r rune) bool { return r == ',' || r == ' ' })
	return slices.Contains(list, name)
}
