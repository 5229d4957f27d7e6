// Package examples holds complete small programs, each in a folder of its own.
package examples

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestExamples builds each example and runs it briefly.
func TestExamples(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "./...")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	for _, c := range []struct{ command, want string }{
		{"mnist -epochs 1 -examples 1500", "test accuracy"},
		{"lenet -epochs 1 -examples 1500 -checkpoints saved", "test accuracy"},
		{"lenet -epochs 1 -examples 1500 -checkpoints saved", "test accuracy"}, // goes on from its end
		{"chargpt -steps 10", "perplexity"},
		{"regression -epochs 5", "test r2"},
	} {
		t.Run(c.command, func(t *testing.T) {
			args := strings.Fields(c.command)
			name := filepath.Join(bin, args[0])
			if runtime.GOOS == "windows" {
				name += ".exe"
			}
			run := exec.Command(name, args[1:]...)
			run.Dir = bin
			out, err := run.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if !strings.Contains(string(out), c.want) {
				t.Errorf("the output has no %q:\n%s", c.want, out)
			}
		})
	}
}
