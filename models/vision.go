package models

import (
	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/nn"
)

// LeNetConfig describes a [LeNet].
type LeNetConfig struct {
	Channels int // of the images; 0 stands for 1
	Size     int // height and width of the images; 0 stands for 28
	Classes  int // 0 stands for 10
}

// LeNet is LeNet-5 as it is taught today: two convolutions with max pooling and
// ReLU, then 120, 84 and Classes units. LeCun et al., "Gradient-based learning
// applied to document recognition", 1998.
type LeNet struct {
	Conv1, Conv2  *nn.Conv2D
	FC1, FC2, FC3 *nn.Linear

	pool *nn.MaxPool2D
	size int
}

// NewLeNet makes a LeNet.
func NewLeNet(c LeNetConfig) *LeNet {
	c = LeNetConfig{or(c.Channels, 1), or(c.Size, 28), or(c.Classes, 10)}
	left := (c.Size/2 - 4) / 2 // after both convolutions and pools
	if left < 1 {
		ir.Fail("models.LeNet", "images of %d×%d are too small; it needs 12×12", c.Size, c.Size)
	}
	return &LeNet{
		Conv1: nn.NewConv2D(c.Channels, 6, 5, nn.Padding(2)),
		Conv2: nn.NewConv2D(6, 16, 5),
		FC1:   nn.NewLinear(16*left*left, 120),
		FC2:   nn.NewLinear(120, 84),
		FC3:   nn.NewLinear(84, c.Classes),
		pool:  nn.NewMaxPool2D(2),
		size:  c.Size,
	}
}

// Forward maps images [N, Channels, Size, Size] to logits [N, Classes].
func (l *LeNet) Forward(x *sinter.Tensor) *sinter.Tensor {
	if x.Rank() != 4 || x.Dim(2) != l.size || x.Dim(3) != l.size {
		ir.Fail("models.LeNet", "an input of shape %v; images have to be [N C %d %d]", x.Shape(), l.size, l.size)
	}
	x = l.pool.Forward(nn.ReLU(l.Conv1.Forward(x)))
	x = l.pool.Forward(nn.ReLU(l.Conv2.Forward(x)))
	x = nn.ReLU(l.FC1.Forward(x.Flatten(1)))
	x = nn.ReLU(l.FC2.Forward(x))
	return l.FC3.Forward(x)
}

// ResNetConfig describes a [ResNet].
type ResNetConfig struct {
	Depth    int // 20, 32, 44, 56, 110: 6n+2; 0 stands for 20
	Channels int // of the images; 0 stands for 3
	Classes  int // 0 stands for 10

	// Checkpoint computes the values of runs of so many blocks again in the backward
	// pass, instead of keeping them; 0 keeps all. See nn.Checkpoint.
	Checkpoint int
}

// ResNet is the residual network for small images: three stages of 16, 32 and 64
// channels, n blocks each, shortcuts without parameters. He et al., "Deep residual
// learning for image recognition", 2015, section 4.2.
type ResNet struct {
	Conv1                  *nn.Conv2D
	BN1                    *nn.BatchNorm2D
	Layer1, Layer2, Layer3 []*ResidualBlock
	FC                     *nn.Linear

	Checkpoint int // as in ResNetConfig; it may be changed between steps
}

// ResidualBlock is two convolutions and a shortcut around them.
type ResidualBlock struct {
	Conv1 *nn.Conv2D
	BN1   *nn.BatchNorm2D
	Conv2 *nn.Conv2D
	BN2   *nn.BatchNorm2D

	stride, widen int // the shortcut's step, and the channels it is short of
}

// NewResNet makes a ResNet. Convolutions are He-normal by fan out.
func NewResNet(c ResNetConfig) *ResNet {
	c.Depth, c.Channels, c.Classes = or(c.Depth, 20), or(c.Channels, 3), or(c.Classes, 10)
	if c.Depth < 8 || (c.Depth-2)%6 != 0 {
		ir.Fail("models.ResNet", "a depth of %d; it has to be 6n+2: 20, 32, 44, 56, 110", c.Depth)
	}
	n := (c.Depth - 2) / 6
	return &ResNet{
		Conv1:  conv3x3(c.Channels, 16, 1),
		BN1:    nn.NewBatchNorm2D(16),
		Layer1: stage(16, 16, n, 1),
		Layer2: stage(16, 32, n, 2),
		Layer3: stage(32, 64, n, 2),
		FC:     nn.NewLinear(64, c.Classes),

		Checkpoint: c.Checkpoint,
	}
}

func conv3x3(in, out, stride int) *nn.Conv2D {
	return nn.NewConv2D(in, out, 3, nn.Stride(stride), nn.Padding(1), nn.NoBias(), nn.Init(nn.HeNormalFanOut()))
}

// stage is n blocks, of which the first changes size and width.
func stage(in, out, n, stride int) []*ResidualBlock {
	var blocks []*ResidualBlock
	for range n {
		blocks = append(blocks, &ResidualBlock{
			Conv1: conv3x3(in, out, stride), BN1: nn.NewBatchNorm2D(out),
			Conv2: conv3x3(out, out, 1), BN2: nn.NewBatchNorm2D(out),
			stride: stride, widen: out - in,
		})
		in, stride = out, 1
	}
	return blocks
}

// Checkpointing is how many blocks a run has whose values are computed again in the
// backward pass; 0: none is.
func (r *ResNet) Checkpointing() int { return r.Checkpoint }

// SetCheckpointing sets it for the steps that are recorded from now on.
func (r *ResNet) SetCheckpointing(blocks int) { r.Checkpoint = blocks }

// Forward maps images [N, Channels, H, W] to logits [N, Classes].
func (r *ResNet) Forward(x *sinter.Tensor) *sinter.Tensor {
	x = nn.ReLU(r.BN1.Forward(r.Conv1.Forward(x)))
	for _, blocks := range [][]*ResidualBlock{r.Layer1, r.Layer2, r.Layer3} {
		x = nn.CheckpointSequential(r.Checkpoint, x, blocks...)
	}
	return r.FC.Forward(x.Mean(2, 3))
}

// Forward maps [N, in, H, W] to [N, out, H/stride, W/stride].
func (b *ResidualBlock) Forward(x *sinter.Tensor) *sinter.Tensor {
	y := nn.ReLU(b.BN1.Forward(b.Conv1.Forward(x)))
	y = b.BN2.Forward(b.Conv2.Forward(y))
	short := x
	if b.stride > 1 {
		short = x.SliceStep(2, 0, x.Dim(2), b.stride).SliceStep(3, 0, x.Dim(3), b.stride)
	}
	if b.widen > 0 {
		// Option A of the paper: the channels that the shortcut lacks are zero.
		half := b.widen / 2
		short = short.Pad([]int{0, half, 0, 0}, []int{0, b.widen - half, 0, 0}, 0)
	}
	return nn.Record(b, nn.ReLU(y.Add(short)), x)
}
