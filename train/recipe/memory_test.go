package recipe

import (
	"encoding/json"
	"errors"
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
		"model: {kind: lenet}\nactivation_checkpointing: true": "gpt and resnet",
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
	for text, want := range map[string]int64{"8GB": 8e9, "512 MiB": 512 << 20, "1.5k": 1500, "100": 100, "2tib": 2 << 40} {
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
	r, err := Parse("x.yaml", []byte(base+"10MB"))
	if err != nil {
		t.Fatal(err)
	}
	job, err := Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(job.Trainer.Notes(job.Model), "\n")
	if r.Batch*max(1, r.Accumulate) != 32 || r.Batch == 32 && r.ActivationCheckpointing == 0 || !strings.Contains(notes, "memory_limit allows") {
		t.Errorf("batch %d, accumulate %d, checkpointing %d; %s", r.Batch, r.Accumulate, r.ActivationCheckpointing, notes)
	}
	// The recipe as it is kept with the run chooses the same again.
	kept, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("run.json", kept)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(again); err != nil || again.Batch != r.Batch || again.Accumulate != r.Accumulate || again.ActivationCheckpointing != r.ActivationCheckpointing {
		t.Errorf("the kept recipe chose batch %d, accumulate %d, checkpointing %d (%v)", again.Batch, again.Accumulate, again.ActivationCheckpointing, err)
	}
}
