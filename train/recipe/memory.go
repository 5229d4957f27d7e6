package recipe

import (
	"errors"
	"runtime"
	"strconv"
	"strings"

	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/train"
)

// byteUnits are what a size may end in: kB, MB, … are powers of 1000, KiB, MiB, … powers
// of 1024.
var byteUnits = map[string]float64{
	"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// memoryLimit is the limit in bytes, 0 if there is none.
func (r *Recipe) memoryLimit() (int64, error) {
	text := strings.TrimSpace(r.MemoryLimit)
	if text == "" {
		return 0, nil
	}
	end := strings.LastIndexAny(text, "0123456789.") + 1
	v, err := strconv.ParseFloat(text[:end], 64)
	unit, ok := byteUnits[strings.ToLower(strings.TrimSpace(text[end:]))]
	if err != nil || !ok || v <= 0 || v*unit < 1 || v*unit > 1<<62 {
		return 0, usage(r.place("memory_limit"), "memory_limit is %q, expected a size such as 8GB or 512MiB", r.MemoryLimit)
	}
	return int64(v * unit), nil
}

// fitMemory makes the training fit into the recipe's limit and writes down, in the
// recipe, what was chosen. So a run that is resumed does not choose again.
func (r *Recipe) fitMemory(t *train.Trainer, model nn.Module, set data.Examples) error {
	limit, err := r.memoryLimit()
	if err != nil || limit == 0 {
		return err
	}
	p, err := t.FitMemory(model, set, limit)
	runtime.GC() // the optimizer that was planned with goes, and its memory serves the next one
	var small *train.MemoryError
	if errors.As(err, &small) {
		return usage(r.place("memory_limit"), "%s", strings.TrimPrefix(small.Error(), "train: "))
	}
	if err != nil {
		return err
	}
	r.Batch, r.ActivationCheckpointing = p.Batch, p.Checkpointing
	if p.Accumulate > 1 || r.Accumulate > 1 {
		r.Accumulate = p.Accumulate
	}
	return nil
}
