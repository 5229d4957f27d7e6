package models

import (
	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/nn"
)

// BottleneckResNetConfig describes a [BottleneckResNet].
type BottleneckResNetConfig struct {
	Depth    int // 50, 101 or 152; 0 stands for 50
	Channels int // of the images; 0 stands for 3
	Classes  int // 0 stands for 1000

	// Checkpoint is as in ResNetConfig.
	Checkpoint int
}

// BottleneckResNet is the residual network for photographs, ResNet-50 and its deeper
// siblings: four stages of blocks of three convolutions. He et al., "Deep residual learning
// for image recognition", 2015, section 4.1, with the stride in the 3×3 convolution of a
// block, as torchvision has it; so are the names of the weights.
type BottleneckResNet struct {
	Conv1                          *nn.Conv2D
	BN1                            *nn.BatchNorm2D
	Layer1, Layer2, Layer3, Layer4 []*BottleneckBlock
	FC                             *nn.Linear

	Checkpoint int // as in the config; it may be changed between steps

	pool *nn.MaxPool2D
}

// BottleneckBlock is 1×1, 3×3 and 1×1 convolutions and a shortcut around them, which has a
// convolution of its own where size or width changes.
type BottleneckBlock struct {
	Conv1      *nn.Conv2D
	BN1        *nn.BatchNorm2D
	Conv2      *nn.Conv2D
	BN2        *nn.BatchNorm2D
	Conv3      *nn.Conv2D
	BN3        *nn.BatchNorm2D
	Downsample nn.Sequential // empty: the shortcut is what goes in
}

// NewBottleneckResNet makes one. Convolutions are He-normal by fan out.
func NewBottleneckResNet(c BottleneckResNetConfig) *BottleneckResNet {
	c.Depth, c.Channels, c.Classes = or(c.Depth, 50), or(c.Channels, 3), or(c.Classes, 1000)
	blocks, ok := map[int][4]int{50: {3, 4, 6, 3}, 101: {3, 4, 23, 3}, 152: {3, 8, 36, 3}}[c.Depth]
	if !ok {
		ir.Fail("models.BottleneckResNet", "a depth of %d; it has to be 50, 101 or 152", c.Depth)
	}
	r := &BottleneckResNet{
		Conv1: nn.NewConv2D(c.Channels, 64, 7, nn.Stride(2), nn.Padding(3), nn.NoBias(), nn.Init(nn.HeNormalFanOut())),
		BN1:   nn.NewBatchNorm2D(64),
		FC:    nn.NewLinear(2048, c.Classes),

		Checkpoint: c.Checkpoint,
		pool:       nn.NewMaxPool2D(3, nn.Stride(2), nn.Padding(1)),
	}
	in := 64
	for i, stage := range []*[]*BottleneckBlock{&r.Layer1, &r.Layer2, &r.Layer3, &r.Layer4} {
		width := 64 << i
		for k := range blocks[i] {
			stride := 1
			if k == 0 && i > 0 {
				stride = 2
			}
			*stage = append(*stage, newBottleneck(in, width, stride))
			in = 4 * width
		}
	}
	return r
}

func newBottleneck(in, width, stride int) *BottleneckBlock {
	conv := func(in, out, size, stride int) *nn.Conv2D {
		return nn.NewConv2D(in, out, size, nn.Stride(stride), nn.Padding(size/2), nn.NoBias(), nn.Init(nn.HeNormalFanOut()))
	}
	b := &BottleneckBlock{
		Conv1: conv(in, width, 1, 1), BN1: nn.NewBatchNorm2D(width),
		Conv2: conv(width, width, 3, stride), BN2: nn.NewBatchNorm2D(width),
		Conv3: conv(width, 4*width, 1, 1), BN3: nn.NewBatchNorm2D(4 * width),
	}
	if stride > 1 || in != 4*width {
		b.Downsample = nn.NewSequential(conv(in, 4*width, 1, stride), nn.NewBatchNorm2D(4*width))
	}
	return b
}

// Checkpointing is how many blocks a run has whose values are computed again in the
// backward pass; 0: none is.
func (r *BottleneckResNet) Checkpointing() int { return r.Checkpoint }

// SetCheckpointing sets it for the steps that are recorded from now on.
func (r *BottleneckResNet) SetCheckpointing(blocks int) { r.Checkpoint = blocks }

// Forward maps images [N, Channels, H, W] to logits [N, Classes].
func (r *BottleneckResNet) Forward(x *sinter.Tensor) *sinter.Tensor {
	x = r.pool.Forward(nn.ReLU(r.BN1.Forward(r.Conv1.Forward(x))))
	for _, blocks := range [][]*BottleneckBlock{r.Layer1, r.Layer2, r.Layer3, r.Layer4} {
		x = nn.CheckpointSequential(r.Checkpoint, x, blocks...)
	}
	return r.FC.Forward(x.Mean(2, 3))
}

// Forward maps [N, in, H, W] to [N, 4·width, H/stride, W/stride].
func (b *BottleneckBlock) Forward(x *sinter.Tensor) *sinter.Tensor {
	y := nn.ReLU(b.BN1.Forward(b.Conv1.Forward(x)))
	y = nn.ReLU(b.BN2.Forward(b.Conv2.Forward(y)))
	y = b.BN3.Forward(b.Conv3.Forward(y))
	short := x
	if len(b.Downsample) > 0 {
		short = b.Downsample.Forward(x)
	}
	return nn.Record(b, nn.ReLU(y.Add(short)), x)
}
