package workload

import (
	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/nn"
)

// resNet50 is the residual network for photographs: four stages of bottlenecks, the
// stride in the 3×3 convolution. He et al., "Deep residual learning for image
// recognition", 2015, table 1; the stride as in PyTorch's torchvision.
type resNet50 struct {
	Conv1                          *nn.Conv2D
	BN1                            *nn.BatchNorm2D
	Pool                           *nn.MaxPool2D
	Layer1, Layer2, Layer3, Layer4 []*bottleneck
	FC                             *nn.Linear
}

// bottleneck is a 3×3 convolution between two of 1×1, and a shortcut around them.
type bottleneck struct {
	Conv1, Conv2, Conv3 *nn.Conv2D
	BN1, BN2, BN3       *nn.BatchNorm2D
	Short               *nn.Conv2D // nil where extents stay the same
	ShortBN             *nn.BatchNorm2D
}

func newResNet50(classes int) *resNet50 {
	return &resNet50{
		Conv1:  nn.NewConv2D(3, 64, 7, nn.Stride(2), nn.Padding(3), nn.NoBias()),
		BN1:    nn.NewBatchNorm2D(64),
		Pool:   nn.NewMaxPool2D(3, nn.Stride(2), nn.Padding(1)),
		Layer1: bottlenecks(64, 64, 3, 1),
		Layer2: bottlenecks(256, 128, 4, 2),
		Layer3: bottlenecks(512, 256, 6, 2),
		Layer4: bottlenecks(1024, 512, 3, 2),
		FC:     nn.NewLinear(2048, classes),
	}
}

func bottlenecks(in, width, n, stride int) []*bottleneck {
	var blocks []*bottleneck
	for range n {
		out := 4 * width
		b := &bottleneck{
			Conv1: nn.NewConv2D(in, width, 1, nn.NoBias()), BN1: nn.NewBatchNorm2D(width),
			Conv2: nn.NewConv2D(width, width, 3, nn.Stride(stride), nn.Padding(1), nn.NoBias()), BN2: nn.NewBatchNorm2D(width),
			Conv3: nn.NewConv2D(width, out, 1, nn.NoBias()), BN3: nn.NewBatchNorm2D(out),
		}
		if in != out || stride != 1 {
			b.Short, b.ShortBN = nn.NewConv2D(in, out, 1, nn.Stride(stride), nn.NoBias()), nn.NewBatchNorm2D(out)
		}
		blocks = append(blocks, b)
		in, stride = out, 1
	}
	return blocks
}

func (r *resNet50) Forward(x *sinter.Tensor) *sinter.Tensor {
	x = r.Pool.Forward(nn.ReLU(r.BN1.Forward(r.Conv1.Forward(x))))
	for _, stage := range [][]*bottleneck{r.Layer1, r.Layer2, r.Layer3, r.Layer4} {
		for _, b := range stage {
			x = b.Forward(x)
		}
	}
	return r.FC.Forward(x.Mean(2, 3))
}

func (b *bottleneck) Forward(x *sinter.Tensor) *sinter.Tensor {
	y := nn.ReLU(b.BN1.Forward(b.Conv1.Forward(x)))
	y = nn.ReLU(b.BN2.Forward(b.Conv2.Forward(y)))
	y = b.BN3.Forward(b.Conv3.Forward(y))
	if b.Short != nil {
		x = b.ShortBN.Forward(b.Short.Forward(x))
	}
	return nn.ReLU(y.Add(x))
}
