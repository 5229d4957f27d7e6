package recipe

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/train"
)

// maxCacheMemory is what data.cache: memory may take, for training and for testing.
const maxCacheMemory = 4 << 30

// cache puts the source's examples into the cache that the recipe wants, as far as that is
// of use; what is not, is noted.
func (r *Recipe) cache(src *data.Source) error {
	switch r.Data.Cache {
	case "", "none", "device": // for the last see cacheOnDevice
		return nil
	}
	if src.Train == nil {
		src.Notes = append(src.Notes, "data.cache is of no use here: streamed examples are not cached")
		return nil
	}
	dir, err := os.UserCacheDir()
	if err != nil && r.Data.Cache == "disk" {
		return fmt.Errorf("there is no folder for the cache: %w; set data.cache to memory", err)
	}
	dir = filepath.Join(dir, "sinter", "examples")
	limit := int64(maxCacheMemory)
	cached := func(role string, set data.Dataset) (data.Dataset, error) {
		if set == nil {
			return nil, nil
		}
		var kept data.Dataset
		var err error
		if r.Data.Cache == "memory" {
			if kept, err = data.CacheMemory(set, limit); err == nil {
				size := 0
				for _, f := range set.Fields() {
					size += f.Bytes()
				}
				limit = max(1, limit-int64(size)*int64(set.Len()))
			}
		} else {
			kept, err = data.CacheDisk(context.Background(), set, data.DiskCache{
				Dir: dir, Key: r.cacheKey(src, role), Workers: r.Data.Workers,
				Warn: func(m string) { slog.Warn(m) },
			})
			if err == nil {
				src.Notes = append(src.Notes, fmt.Sprintf("the examples for %s are kept in %s", role, dir))
			}
		}
		switch {
		case errors.Is(err, data.ErrNoCache):
			src.Notes = append(src.Notes, fmt.Sprintf("the examples for %s are %s", role, strings.TrimPrefix(err.Error(), "data: ")))
			return set, nil
		case err != nil: // a disk that is full, for example
			src.Notes = append(src.Notes, fmt.Sprintf("the examples for %s are read without a cache: %s", role, strings.TrimPrefix(err.Error(), "data: ")))
			return set, nil
		}
		return kept, nil
	}
	if src.Train, err = cached("training", src.Train); err != nil {
		return err
	}
	src.Test, err = cached("testing", src.Test)
	return err
}

// cacheOnDevice puts the examples into the memory of the device, if the recipe wants that
// and there is room for them beside what training takes. It comes last, when all that
// changes examples is known.
func (r *Recipe) cacheOnDevice(t *train.Trainer, model nn.Module, src *data.Source) error {
	if r.Data.Cache != "device" {
		return nil
	}
	if src.Train == nil {
		src.Notes = append(src.Notes, "data.cache is of no use here: streamed examples are not cached")
		return nil
	}
	plan, err := t.PlanMemory(model, src.Train)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		role string
		set  *data.Dataset
	}{{"training", &src.Train}, {"testing", &src.Test}} {
		if *c.set == nil {
			continue
		}
		kept, err := data.CacheDevice(context.Background(), *c.set, plan.Total())
		switch {
		case errors.Is(err, data.ErrNoCache):
			src.Notes = append(src.Notes, fmt.Sprintf("the examples for %s are %s", c.role, strings.TrimPrefix(err.Error(), "data: ")))
			continue
		case err != nil:
			return err
		}
		size := 0
		for _, f := range kept.Fields() {
			size += f.Bytes()
		}
		src.Notes = append(src.Notes, fmt.Sprintf("the examples for %s are in the memory of %s: %s", c.role, sinter.DeviceName(), bytesOf(int64(size)*int64(kept.Len()))))
		*c.set = kept
	}
	return nil
}

// cacheKey tells the examples from those of other files, and from what other settings make
// of the same files; empty if what was read has no digest.
func (r *Recipe) cacheKey(src *data.Source, role string) string {
	if src.Digest == "" {
		return ""
	}
	d := r.Data
	// Where the files lie and how they are read does not matter.
	d.Path, d.Test, d.Workers, d.Prefetch, d.ShuffleBuffer, d.Cache, d.SkipBad = "", "", 0, 0, 0, "", false
	text, err := json.Marshal(struct {
		Digest, Role, Kind string
		Seed               uint64 // of the part that is held out
		Block              int
		Data               Data
	}{src.Digest, role, r.Model.Kind, r.Seed, r.Model.Block, d})
	if err != nil {
		panic("recipe: " + err.Error()) // plain values
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}
