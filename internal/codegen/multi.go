package codegen

import "github.com/sinter-dl/sinter/internal/kernel"

func multi(f *kernel.Fused, slots []kernel.Slot, t *Target) ([]Launch, error) {
	var ls []Launch
	for i := range f.Parts {
		one := &kernel.Fused{Name: f.Name, Code: f.Code, Parts: f.Parts[i : i+1]}
		l, err := part(one, 0, slots, t)
		if err != nil {
			return nil, err
		}
		ls = append(ls, l...)
	}
	return ls, nil
}
