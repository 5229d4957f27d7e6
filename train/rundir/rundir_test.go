package rundir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCommitAndRead(t *testing.T) {
	base := t.TempDir()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w, err := CreateIn(filepath.Join(base, "runs"), "lenet", now)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(base, "runs", "lenet-20260102-030405"); w.Dir() != want {
		t.Fatalf("folder %s, expected %s", w.Dir(), want)
	}
	if _, err := os.Stat(w.Dir()); err == nil {
		t.Fatal("the folder has its name before it is whole")
	}
	if err := w.Log(map[string]int{"step": 1}); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(&Manifest{Name: "lenet", Status: Complete, Versions: CurrentVersions()}); err != nil {
		t.Fatal(err)
	}
	w.Discard() // must not touch what was committed
	m, err := Read(w.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "lenet" || m.Versions.Go == "" || m.Versions.Sinter == "" {
		t.Errorf("manifest %+v", m)
	}
	text, err := os.ReadFile(filepath.Join(w.Dir(), MetricsFile))
	if err != nil || string(text) != "{\"step\":1}\n" {
		t.Errorf("metrics %q, %v", text, err)
	}

	second, err := CreateIn(filepath.Join(base, "runs"), "lenet", now)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Discard()
	third, err := CreateIn(filepath.Join(base, "runs"), "lenet", now)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Discard()
	if !strings.HasSuffix(second.Dir(), "-2") || !strings.HasSuffix(third.Dir(), "-3") {
		t.Errorf("folders %s and %s, expected the numbers 2 and 3", second.Dir(), third.Dir())
	}
}

func TestDiscardLeavesNothing(t *testing.T) {
	base := t.TempDir()
	w, err := Create(filepath.Join(base, "a", "b", "run"))
	if err != nil {
		t.Fatal(err)
	}
	w.Discard()
	if entries, _ := os.ReadDir(base); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestCreateRefuses(t *testing.T) {
	base := t.TempDir()
	if err := os.WriteFile(filepath.Join(base, "file"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		base:                               "is not empty",
		filepath.Join(base, "file"):        "cannot be used",
		filepath.Join(base, "file", "run"): "cannot be",
	} {
		if _, err := Create(dir); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, expected %q", dir, err, want)
		}
	}
	if entries, _ := os.ReadDir(base); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		"":               "is not a run folder",
		"{":              "is damaged",
		`{"format": 99}`: "has format 99",
	} {
		if content != "" {
			if err := os.WriteFile(filepath.Join(dir, ManifestFile), []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
		} else {
			os.Remove(filepath.Join(dir, ManifestFile))
		}
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, expected %q", content, err, want)
		}
	}
}
