package recipe

import (
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
