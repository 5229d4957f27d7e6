package testenv

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRoot(t *testing.T) {
	if _, err := os.Stat(filepath.Join(Root(t), "internal", "testenv", "testenv.go")); err != nil {
		t.Errorf("Root does not hold this package: %v", err)
	}
}

func TestRequired(t *testing.T) {
	t.Setenv("SINTER_REQUIRE", "opencl, data")
	for name, want := range map[string]bool{"data": true, "opencl": true, "cuda": false, "": false} {
		if Required(name) != want {
			t.Errorf("Required(%q) = %v, want %v", name, !want, want)
		}
	}
	t.Setenv("SINTER_REQUIRE", "")
	if Required("data") {
		t.Error("an empty SINTER_REQUIRE requires data")
	}
}

func TestRequireSkips(t *testing.T) {
	t.Setenv("SINTER_REQUIRE", "")
	var skipped bool
	t.Run("absent", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		SharedData(t, "no such file")
	})
	if !skipped {
		t.Error("a test whose data are absent was not skipped")
	}
}
