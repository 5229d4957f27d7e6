package models

import (
	"slices"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/nn"
)

// The sizes of torchvision's resnet50, resnet101 and resnet152.
func TestBottleneckResNet(t *testing.T) {
	defer nn.WithoutValues()()
	for depth, parameters := range map[int]int{50: 25_557_032, 101: 44_549_160, 152: 60_192_808} {
		if n := nn.Count(NewBottleneckResNet(BottleneckResNetConfig{Depth: depth})); n != parameters {
			t.Errorf("depth %d has %d parameters, torchvision's %d", depth, n, parameters)
		}
	}
	net := NewBottleneckResNet(BottleneckResNetConfig{Channels: 1, Classes: 7})
	if y := net.Forward(sinter.Zeros(sinter.Float32, 2, 1, 64, 64)); !slices.Equal(y.Shape(), []int{2, 7}) {
		t.Errorf("logits of shape %v", y.Shape())
	}
}
