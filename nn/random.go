package nn

import (
	"fmt"
	"maps"
	"slices"
)

// RandomKeys lists the keys of a model's layers that draw random numbers, Dropout's,
// by the layers' paths. They are drawn when the layers are made; a checkpoint keeps
// them, so that a run goes on to the same bits in whatever order a program makes its
// models.
func RandomKeys(model any) map[string]uint64 {
	keys := map[string]uint64{}
	walk(model, nil, func(path string, layer any) {
		if d, ok := layer.(*Dropout); ok {
			keys[path] = d.key
		}
	})
	return keys
}

// SetRandomKeys sets the keys that RandomKeys gave. A model whose layers are others
// is refused and left as it was.
func SetRandomKeys(model any, keys map[string]uint64) error {
	have := RandomKeys(model)
	for _, path := range slices.Sorted(maps.Keys(keys)) {
		if _, ok := have[path]; !ok {
			return fmt.Errorf("nn: the model has no random layer %q", path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(have)) {
		if _, ok := keys[path]; !ok {
			return fmt.Errorf("nn: there is no key for the model's random layer %q", path)
		}
	}
	walk(model, nil, func(path string, layer any) {
		if d, ok := layer.(*Dropout); ok {
			d.key = keys[path]
		}
	})
	return nil
}
