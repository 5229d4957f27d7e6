package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/format/safetensors"
)

// content is a small checkpoint.
func content(step int, score ...float64) *Content {
	c := &Content{Step: step, State: json.RawMessage(fmt.Sprintf(`{"step":%d}`, step)), Tensors: map[string][]safetensors.Tensor{
		"model":     {{Name: "w", DType: sinter.Float32, Shape: []int{2, 2}, Data: bytes.Repeat([]byte{byte(step)}, 16)}},
		"optimizer": {{Name: "w.exp_avg", DType: sinter.Float32, Shape: []int{4}, Data: make([]byte, 16)}, {Name: "steps", DType: sinter.Int64, Shape: []int{1}, Data: make([]byte, 8)}},
		"callbacks": nil,
	}}
	if len(score) > 0 {
		c.Score = &Score{"test_loss", score[0]}
	}
	return c
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	all, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, info := range all {
		list = append(list, info.Name)
	}
	return list
}

func TestWriteAndRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	if path, err := Latest(dir); path != "" || err != nil {
		t.Errorf("of nothing the latest is %q, %v", path, err)
	}
	want := content(1200, 0.25)
	info, err := Write(dir, want)
	if err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(info.Path)
	var size int64
	var files []string
	for _, e := range entries {
		i, _ := e.Info()
		size += i.Size()
		files = append(files, e.Name())
	}
	if info.Name != "step-00001200" || info.Bytes != size || !slices.Equal(files, []string{"checkpoint.json", "model.safetensors", "optimizer.safetensors", "state.json"}) {
		t.Errorf("%+v of %v, %d bytes", info, files, size)
	}
	got, err := Read(info.Path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Step != 1200 || *got.Score != *want.Score || string(got.State) != string(want.State) || len(got.Tensors) != 2 || !bytes.Equal(got.Tensors["model"][0].Data, want.Tensors["model"][0].Data) {
		t.Errorf("read %+v", got)
	}
	// Others read the weights as they are.
	f, err := safetensors.Open(filepath.Join(info.Path, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()

	if again, err := Write(dir, want); err != nil || again.Name != "step-00001200-2" {
		t.Errorf("a second of the step: %+v, %v", again, err)
	}
	if path, err := Latest(dir); err != nil || path != info.Path {
		t.Errorf("the latest is %s, %v", path, err)
	}
	for _, name := range []string{"step-1200", "1200", "step-00001200", info.Path} {
		if path, err := Find(dir, name); err != nil || path != info.Path {
			t.Errorf("%s is %s, %v", name, path, err)
		}
	}
	if _, err := Find(dir, "1300"); err == nil || !strings.Contains(err.Error(), "there are step-00001200, step-00001200-2") {
		t.Errorf("got %v", err)
	}
}

// Every file that is cut anywhere, emptied, missing or longer, and every byte that is
// another, is refused by the file's name, and the checkpoint before is found.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	before, err := Write(dir, content(1))
	if err == nil {
		_, err = Write(dir, content(2, 0.5))
	}
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "step-00000002")
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) != 4 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		refused := func(what string) {
			t.Helper()
			var damaged *DamagedError
			if _, err := Read(path); !errors.As(err, &damaged) || damaged.File != e.Name() || damaged.Path != path {
				t.Errorf("%s, %s: %v", e.Name(), what, err)
			}
		}
		change := func(content []byte) {
			if err := os.WriteFile(name, content, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		for n := range whole {
			change(whole[:n])
			refused(fmt.Sprintf("cut to %d of %d bytes", n, len(whole)))
			altered := bytes.Clone(whole)
			altered[n] ^= 1 << (n % 8)
			change(altered)
			refused(fmt.Sprintf("byte %d of %d altered", n, len(whole)))
		}
		change(append(bytes.Clone(whole), ' '))
		refused("a byte longer")
		os.Remove(name)
		refused("missing")
		if got := Before(path); got != before.Path {
			t.Errorf("the one before is %q", got)
		}
		change(whole)
		if _, err := Read(path); err != nil {
			t.Fatalf("put right again: %v", err)
		}
	}
	if got := Before(before.Path); got != "" {
		t.Errorf("before the first is %q", got)
	}
}

func TestPrune(t *testing.T) {
	for _, c := range []struct {
		keep Keep
		want string
	}{
		{Keep{Last: 2}, "step-00000005 step-00000006 step-00000006-2"},
		{Keep{Last: 1, Best: 2}, "step-00000002 step-00000003 step-00000006 step-00000006-2"},
		{Keep{Last: 1, Best: 1, Higher: true}, "step-00000001 step-00000006 step-00000006-2"},
		{Keep{Last: 100}, "step-00000001 step-00000002 step-00000003 step-00000004 step-00000005 step-00000006 step-00000006-2"},
	} {
		dir := t.TempDir()
		for step, score := range []float64{1: 9, 2: 1, 3: 2, 4: 5, 5: -1, 6: -1} {
			if step == 0 {
				continue
			}
			one := content(step, score)
			if score < 0 {
				one.Score = nil
			}
			if _, err := Write(dir, one); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Write(dir, content(6, 7)); err != nil {
			t.Fatal(err)
		}
		os.Mkdir(filepath.Join(dir, ".step-00000004"+partial), 0o777)
		os.Mkdir(filepath.Join(dir, ".step-00000003"+removed), 0o777)
		os.Mkdir(filepath.Join(dir, "mine"), 0o777)
		if err := Prune(dir, c.keep); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(names(t, dir), " "); got != c.want {
			t.Errorf("%+v keeps %s, expected %s", c.keep, got, c.want)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if _, err := os.Stat(filepath.Join(dir, "mine")); err != nil {
			t.Error("what is no checkpoint was removed")
		}
	}
	dir := t.TempDir()
	for step := range 4 {
		if _, err := Write(dir, content(step)); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveAfter(dir, filepath.Join(dir, "step-00000001")); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names(t, dir), " "); got != "step-00000000 step-00000001" {
		t.Errorf("left %s", got)
	}
}

// fullDisk is a file on a disk that has so many bytes left.
type fullDisk struct {
	*os.File
	left *int
}

func (f fullDisk) Write(p []byte) (int, error) {
	n := min(len(p), *f.left)
	*f.left -= n
	n, err := f.File.Write(p[:n])
	if err == nil && n < len(p) {
		err = syscall.ENOSPC
	}
	return n, err
}

// However much room is left, a checkpoint is written whole or nothing of it stays, and
// the one before is not touched.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if _, err := Write(dir, content(1)); err != nil {
		t.Fatal(err)
	}
	real := createFile
	defer func() { createFile = real }()
	full := 0
	for room := 0; ; room += 37 {
		left := room
		createFile = func(name string) (io.WriteCloser, error) {
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
			return fullDisk{f, &left}, err
		}
		_, err := Write(dir, content(2))
		if err == nil {
			break
		}
		full++
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "step 2") {
			t.Fatalf("with %d bytes left: %v", room, err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Fatalf("with %d bytes left there are %v", room, entries)
		}
		if _, err := Read(filepath.Join(dir, "step-00000001")); err != nil {
			t.Fatal(err)
		}
	}
	if full < 10 {
		t.Errorf("only %d times full", full)
	}
	if _, err := Read(filepath.Join(dir, "step-00000002")); err != nil {
		t.Error(err)
	}
}
