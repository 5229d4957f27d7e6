package recipe

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/models"
)

func TestActivationCheckpointing(t *testing.T) {
	for value, want := range map[string]int{"true": 1, "false": 0, "3": 3, "1": 1, "0": 0} {
		r, err := Parse("x.yaml", []byte("model: {kind: resnet, depth: 8}\ndata: {path: glyphs, examples: 64}\nactivation_checkpointing: "+value))
		if err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		job, err := Prepare(r)
		if err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		if got := job.Model.(*models.ResNet).Checkpoint; got != want {
			t.Errorf("%s: the model checkpoints runs of %d blocks, want %d", value, got, want)
		}
	}
	for text, want := range map[string]string{
		"model: {kind: resnet}\nactivation_checkpointing: yes": "expected true, false or a whole number",
		"model: {kind: lenet}\nactivation_checkpointing: true": "gpt, resnet and bottleneck",
	} {
		r, err := Parse("x.yaml", []byte(text))
		if err == nil {
			err = r.Resolve()
		}
		var wrong *UsageError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "x.yaml:2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	for text, want := range map[string]int64{"8GB": 8e9, "512 MiB": 512 << 20, "1.5kB": 1500, "100": 100, "2TiB": 2 << 40} {
		r := &Recipe{MemoryLimit: text}
		if got, err := r.memoryLimit(); err != nil || got != want {
			t.Errorf("%s is %d bytes, want %d (%v)", text, got, want, err)
		}
	}
	const base = "model: {kind: resnet, depth: 8}\ndata: {path: glyphs, examples: 64}\nbatch: 32\nmemory_limit: "
	for text, want := range map[string]string{"much": "such as 8GB", "0GB": "such as 8GB", "8 XB": "such as 8GB", "-1GB": "such as 8GB", "1MB": "too small: the least is"} {
		r, err := Parse("x.yaml", []byte(base+text))
		if err == nil {
			_, err = Prepare(r)
		}
		var wrong *UsageError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "x.yaml:4") {
			t.Errorf("%q: %v", text, err)
		}
	}
	// What the process and the copy for checkpoints take is part of the limit: as it says
	// itself, just enough for the least is enough.
	r, err := Parse("x.yaml", []byte(base+"1MB"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Prepare(r)
	var least float64
	if _, scanErr := fmt.Sscanf(err.Error()[strings.Index(err.Error(), "the least is"):], "the least is %f MiB", &least); scanErr != nil {
		t.Fatal(scanErr)
	}
	if r, err = Parse("x.yaml", []byte(base+fmt.Sprintf("%.1fMiB", least+40))); err != nil { // the process may have grown meanwhile
		t.Fatal(err)
	}
	job, err := Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(append(job.Source.Notes, job.Trainer.Notes(job.Model)...), "\n")
	if r.Batch*max(1, r.Accumulate) != 32 || !strings.Contains(notes, "of the memory limit of") || !strings.Contains(notes, "a step takes") {
		t.Errorf("batch %d, accumulate %d, checkpointing %d; %s", r.Batch, r.Accumulate, r.ActivationCheckpointing, notes)
	}
	// The recipe as it is kept with the run does not choose again.
	r.Batch, r.Accumulate, r.ActivationCheckpointing, r.MemoryLimit = 8, 4, 1, "1MB"
	kept, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("run.json", kept)
	if err != nil {
		t.Fatal(err)
	}
	again.settled = true
	if _, err := Prepare(again); err != nil || again.Batch != 8 || again.Accumulate != 4 || again.ActivationCheckpointing != 1 {
		t.Errorf("the kept recipe chose batch %d, accumulate %d, checkpointing %d (%v)", again.Batch, again.Accumulate, again.ActivationCheckpointing, err)
	}
}
