package nn_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/nn"
)

type twoLayers struct {
	Hidden *nn.Linear
	Norm   *nn.LayerNorm
	Out    *nn.Linear
}

func (m *twoLayers) Forward(x *sinter.Tensor) *sinter.Tensor {
	return m.Out.Forward(m.Norm.Forward(nn.ReLU(m.Hidden.Forward(x))))
}

func TestGraph(t *testing.T) {
	model := &twoLayers{nn.NewLinear(3, 5), nn.NewLayerNorm(5), nn.NewLinear(5, 2)}
	all, err := nn.Graph(model, sinter.Zeros(sinter.Float32, 4, 3))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]nn.Operation{}
	for _, o := range all {
		for _, in := range o.Inputs {
			if _, ok := known[in]; !ok {
				t.Errorf("%s reads %s, which does not come before it", o.Name, in)
			}
		}
		if _, twice := known[o.Name]; twice {
			t.Errorf("there are two of the name %s", o.Name)
		}
		known[o.Name] = o
	}
	for _, name := range []string{"input", "hidden.weight", "hidden.bias", "norm.weight", "out.weight"} {
		if known[name].Shape == nil {
			t.Errorf("there is no %s in %v", name, all)
		}
	}
	if last := all[len(all)-1]; !slices.Equal(last.Shape, []int{4, 2}) || last.Layer != "out" {
		t.Errorf("the last is %+v", last)
	}
	if !slices.ContainsFunc(all, func(o nn.Operation) bool { return o.Layer == "norm" && strings.Contains(o.Op, "layer_norm") }) {
		t.Errorf("no layer_norm among %v", all)
	}
	if _, err := nn.Graph(model, sinter.Zeros(sinter.Float32, 4, 7)); err == nil {
		t.Error("a wrong shape was not refused")
	}
}
