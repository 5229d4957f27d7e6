package nn_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/reftest"
	"github.com/sinter-dl/sinter/nn"
)

// Activations, losses and layers are compared with values that PyTorch computed
// (scripts/reference/layers.py), with the gradients of inputs and parameters and
// with what the running statistics are afterwards.

type tensors = []*sinter.Tensor

func activation(f func(x *sinter.Tensor) *sinter.Tensor) function {
	return func(_ reftest.Args, in tensors) *sinter.Tensor { return f(in[0]) }
}

func along(f func(x *sinter.Tensor, axis int) *sinter.Tensor) function {
	return func(a reftest.Args, in tensors) *sinter.Tensor { return f(in[0], a.Int("axis")) }
}

func loss(f nn.Loss) function {
	return func(_ reftest.Args, in tensors) *sinter.Tensor { return f(in[0], in[1]) }
}

type function = func(a reftest.Args, in tensors) *sinter.Tensor

var functions = map[string]function{
	"relu":        activation(nn.ReLU),
	"relu6":       activation(nn.ReLU6),
	"selu":        activation(nn.SELU),
	"silu":        activation(nn.SiLU),
	"mish":        activation(nn.Mish),
	"hardswish":   activation(nn.Hardswish),
	"sigmoid":     activation(nn.Sigmoid),
	"tanh":        activation(nn.Tanh),
	"gelu":        activation(nn.GELU),
	"gelu_tanh":   activation(nn.GELUTanh),
	"softplus":    activation(nn.Softplus),
	"leaky_relu":  func(a reftest.Args, in tensors) *sinter.Tensor { return nn.LeakyReLU(in[0], a.FloatOr("slope", 0.01)) },
	"elu":         func(a reftest.Args, in tensors) *sinter.Tensor { return nn.ELU(in[0], a.FloatOr("alpha", 1)) },
	"softmax":     along(nn.Softmax),
	"log_softmax": along(nn.LogSoftmax),
	"glu":         along(nn.GLU),
	"swiglu":      along(nn.SwiGLU),

	"mse":               loss(nn.MSE),
	"l1":                loss(nn.L1),
	"bce":               loss(nn.BCE),
	"bce_with_logits":   loss(nn.BCEWithLogits),
	"nll":               loss(nn.NLL),
	"cross_entropy":     loss(nn.CrossEntropy),
	"kl_div":            loss(nn.KLDiv),
	"kl_div_batch_mean": loss(nn.KLDivBatchMean),
	"hinge":             loss(nn.Hinge),
	"poisson_nll":       loss(nn.PoissonNLL),
	"huber": func(a reftest.Args, in tensors) *sinter.Tensor {
		if d := a.Float("delta"); d != 1 {
			return nn.HuberWith(d)(in[0], in[1])
		}
		return nn.Huber(in[0], in[1])
	},
	"smooth_l1": func(a reftest.Args, in tensors) *sinter.Tensor {
		if b := a.Float("beta"); b != 1 {
			return nn.SmoothL1With(b)(in[0], in[1])
		}
		return nn.SmoothL1(in[0], in[1])
	},
	"bce_with_logits_weighted": func(_ reftest.Args, in tensors) *sinter.Tensor {
		return nn.BCEWithLogitsWith(in[2].Detach())(in[0], in[1])
	},
	"cosine_embedding": func(a reftest.Args, in tensors) *sinter.Tensor {
		return nn.CosineEmbedding(in[0], in[1], in[2].Detach(), a.Float("margin"))
	},
	"margin_ranking": func(a reftest.Args, in tensors) *sinter.Tensor {
		return nn.MarginRanking(in[0], in[1], in[2].Detach(), a.Float("margin"))
	},
	"triplet_margin": func(a reftest.Args, in tensors) *sinter.Tensor {
		return nn.TripletMargin(in[0], in[1], in[2], a.Float("margin"))
	},
	"hinge_embedding": func(a reftest.Args, in tensors) *sinter.Tensor {
		return nn.HingeEmbedding(in[0], in[1].Detach(), a.Float("margin"))
	},
}

// noTarget are the losses whose target PyTorch was not asked to differentiate.
var noTarget = map[string]bool{"hinge": true, "kl_div/zero_target": true}

func inputs(c *reftest.Case, wide bool) tensors {
	in := make(tensors, len(c.In))
	for i, x := range c.In {
		d := x.DType
		if wide && d == sinter.Float32 {
			d = sinter.Float64
		}
		in[i] = sinter.FromBytes(d, x.Bytes(d), x.Shape...)
	}
	return in
}

// objective is Σ out·cotangent with the cotangents of the reference files.
func objective(out tensors) *sinter.Tensor {
	sum := sinter.ScalarOf(out[0].DType(), 0)
	for j, y := range out {
		if !y.DType().IsFloat() {
			continue
		}
		n := reftest.Noise(uint32(j+1), y.Len())
		sum = sum.Add(y.Mul(sinter.FromFloats(n, y.Shape()...).To(y.DType())).Sum())
	}
	return sum
}

// grad is sinter.Grad with zeros, as PyTorch has them, where y does not depend on x.
func grad(y *sinter.Tensor, xs ...*sinter.Tensor) tensors {
	grads := sinter.Grad(y, xs...)
	for i, g := range grads {
		if g == nil {
			grads[i] = sinter.Zeros(xs[i].DType(), xs[i].Shape()...)
		}
	}
	return grads
}

func check(t *testing.T, what string, want *reftest.Tensor, got *sinter.Tensor) {
	t.Helper()
	b, err := got.Bytes()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	d := got.DType()
	if err := want.Check(reftest.Value{DType: d, Shape: got.Shape(), Bytes: b}, d, reftest.Tolerance(d)); err != nil {
		t.Errorf("%v %s: %v", d, what, err)
	}
}

func TestFunctionReference(t *testing.T) {
	all := append(reftest.Load(t, "testdata/activations.json", nil), reftest.Load(t, "testdata/losses.json", nil)...)
	reftest.Covered(t, functions, all)
	reftest.Run(t, all, func(t *testing.T, c *reftest.Case) {
		for _, wide := range []bool{false, true} {
			if wide && !c.Wide() {
				continue
			}
			in := inputs(c, wide)
			out := functions[c.Op](c.Args, in)
			roots, wrt := tensors{out}, []int(nil)
			for i, g := range c.Grad {
				if g != nil && !(i == 1 && (noTarget[c.Op] || noTarget[c.ID()])) {
					wrt = append(wrt, i)
				}
			}
			if len(wrt) > 0 {
				var xs tensors
				for _, i := range wrt {
					xs = append(xs, in[i])
				}
				roots = append(roots, grad(objective(tensors{out}), xs...)...)
			}
			if err := sinter.Eval(roots...); err != nil {
				t.Fatal(err)
			}
			check(t, "output", c.Out[0], out)
			for k, i := range wrt {
				check(t, fmt.Sprintf("gradient %d", i), c.Grad[i], roots[1+k])
			}
		}
	})
}

// A layer in a test: what holds the variables, and the call.
type layer struct {
	model any
	run   func(in tensors) tensors
}

func module(m nn.Module) layer {
	return layer{m, func(in tensors) tensors { return tensors{m.Forward(in[0])} }}
}

// convolution turns a case's arguments into options of a convolution.
func convolution(a reftest.Args) []nn.Option {
	var o []nn.Option
	if a.Has("stride") {
		o = append(o, nn.Stride(a.Int("stride")))
	}
	if a.Has("padding") {
		o = append(o, nn.Padding(a.Int("padding")))
	}
	if a.Has("dilation") {
		o = append(o, nn.Dilation(a.Int("dilation")))
	}
	if a.Has("groups") {
		o = append(o, nn.Groups(a.Int("groups")))
	}
	if a.Has("output_padding") {
		o = append(o, nn.OutputPadding(a.Int("output_padding")))
	}
	if a.Has("bias") && !a.Bool("bias") {
		o = append(o, nn.NoBias())
	}
	return o
}

func stack(a reftest.Args) []nn.Option {
	o := []nn.Option{nn.Layers(a.Int("layers"))}
	if a.Bool("bidirectional") {
		o = append(o, nn.Bidirectional())
	}
	if a.Bool("relu") {
		o = append(o, nn.ReLUCell())
	}
	return o
}

// given is in[i], or nil if there is none.
func given(in tensors, i int) *sinter.Tensor {
	if i < len(in) {
		return in[i]
	}
	return nil
}

var layers = map[string]func(a reftest.Args, size []int) layer{
	"linear": func(a reftest.Args, s []int) layer { return module(nn.NewLinear(s[0], s[1], convolution(a)...)) },
	"conv1d": func(a reftest.Args, s []int) layer { return module(nn.NewConv1D(s[0], s[1], s[2], convolution(a)...)) },
	"conv2d": func(a reftest.Args, s []int) layer { return module(nn.NewConv2D(s[0], s[1], s[2], convolution(a)...)) },
	"conv_transpose2d": func(a reftest.Args, s []int) layer {
		return module(nn.NewConvTranspose2D(s[0], s[1], s[2], convolution(a)...))
	},
	"max_pool2d":        func(_ reftest.Args, s []int) layer { return module(nn.NewMaxPool2D(s[0])) },
	"avg_pool2d":        func(_ reftest.Args, s []int) layer { return module(nn.NewAvgPool2D(s[0])) },
	"global_avg_pool2d": func(reftest.Args, []int) layer { return module(nn.GlobalAvgPool{}) },
	"global_max_pool2d": func(reftest.Args, []int) layer { return module(nn.GlobalMaxPool{}) },
	"flatten":           func(reftest.Args, []int) layer { return module(nn.Flatten{}) },
	"batch_norm1d":      func(_ reftest.Args, s []int) layer { return module(nn.NewBatchNorm1D(s[0])) },
	"batch_norm2d":      func(_ reftest.Args, s []int) layer { return module(nn.NewBatchNorm2D(s[0])) },
	"layer_norm":        func(_ reftest.Args, s []int) layer { return module(nn.NewLayerNormOver(s)) },
	"rms_norm":          func(a reftest.Args, s []int) layer { return module(nn.NewRMSNorm(s[0], nn.Eps(a.Float("eps")))) },
	"group_norm":        func(_ reftest.Args, s []int) layer { return module(nn.NewGroupNorm(s[0], s[1])) },
	"embedding":         func(_ reftest.Args, s []int) layer { return module(nn.NewEmbedding(s[0], s[1])) },
	"prelu":             func(_ reftest.Args, s []int) layer { return module(nn.NewPReLU(s[0])) },
	"rnn": func(a reftest.Args, s []int) layer {
		m := nn.NewRNN(s[0], s[1], stack(a)...)
		return layer{m, func(in tensors) tensors {
			y, h := m.Run(in[0], given(in, 1))
			return tensors{y, h}
		}}
	},
	"lstm": func(a reftest.Args, s []int) layer {
		m := nn.NewLSTM(s[0], s[1], stack(a)...)
		return layer{m, func(in tensors) tensors {
			y, h, c := m.Run(in[0], given(in, 1), given(in, 2))
			return tensors{y, h, c}
		}}
	},
	"gru": func(a reftest.Args, s []int) layer {
		m := nn.NewGRU(s[0], s[1], stack(a)...)
		return layer{m, func(in tensors) tensors {
			y, h := m.Run(in[0], given(in, 1))
			return tensors{y, h}
		}}
	},
	"transformer_encoder_layer": func(a reftest.Args, s []int) layer {
		o := []nn.Option{nn.DropoutP(0)}
		if a.Bool("norm_first") {
			o = append(o, nn.NormFirst())
		}
		return module(nn.NewTransformerEncoderLayer(s[0], s[1], s[2], o...))
	},
	"multi_head_attention": func(a reftest.Args, s []int) layer {
		var o []nn.Option
		if !a.Bool("bias") {
			o = append(o, nn.NoBias())
		}
		if a.Bool("causal") {
			o = append(o, nn.Causal())
		}
		m := nn.NewMultiHeadAttention(s[0], s[1], o...)
		return layer{m, func(in tensors) tensors {
			if len(in) == 1 {
				return tensors{m.Forward(in[0])}
			}
			return tensors{m.Attend(in[0], in[1], in[1], nil)}
		}}
	},
}

// load gives the layer the state of the case; the names on both sides have to
// agree, so this is also the test that PyTorch's checkpoints fit.
func load(t *testing.T, model any, state map[string]*reftest.Tensor) map[string]*sinter.Variable {
	t.Helper()
	vars := map[string]*sinter.Variable{}
	for _, v := range nn.State(model) {
		if v.DType().IsFloat() {
			vars[v.Name] = v
		}
	}
	if got, want := slices.Sorted(maps.Keys(vars)), slices.Sorted(maps.Keys(state)); !slices.Equal(got, want) {
		t.Fatalf("variables %v, PyTorch's are %v", got, want)
	}
	values := map[string]*sinter.Tensor{}
	for name, x := range state {
		values[name] = sinter.FromBytes(x.DType, x.Bytes(x.DType), x.Shape...)
	}
	if err := nn.LoadState(model, values, false); err != nil {
		t.Fatal(err)
	}
	return vars
}

func TestLayerReference(t *testing.T) {
	all := reftest.Load(t, "testdata/layers.json", nil)
	reftest.Covered(t, layers, all)
	reftest.Run(t, all, func(t *testing.T, c *reftest.Case) {
		l := layers[c.Op](c.Args, c.Args.Ints("size"))
		vars := load(t, l.model, c.State)
		if c.Args.String("mode") == "eval" {
			nn.Eval(l.model)
		} else {
			nn.Train(l.model)
		}
		in := inputs(c, false)
		// Earlier steps only move the running statistics.
		for range c.Args.Int("steps") - 1 {
			if err := sinter.Eval(l.run(in)...); err != nil {
				t.Fatal(err)
			}
		}
		out := l.run(in)
		var xs tensors
		var names []string
		for i, g := range c.Grad {
			if g != nil {
				xs, names = append(xs, in[i]), append(names, "")
			}
		}
		for _, name := range slices.Sorted(maps.Keys(c.StateGrad)) {
			xs, names = append(xs, vars[name].Value()), append(names, name)
		}
		roots := slices.Clone(out)
		if len(xs) > 0 {
			roots = append(roots, grad(objective(out), xs...)...)
		}
		if err := sinter.Eval(roots...); err != nil {
			t.Fatal(err)
		}
		if len(out) != len(c.Out) {
			t.Fatalf("%d outputs, want %d", len(out), len(c.Out))
		}
		for j, want := range c.Out {
			check(t, fmt.Sprintf("output %d", j), want, out[j])
		}
		grads := roots[len(out):]
		for i, g := range c.Grad {
			if g != nil {
				check(t, fmt.Sprintf("gradient of input %d", i), g, grads[0])
				grads, names = grads[1:], names[1:]
			}
		}
		for k, name := range names {
			check(t, "gradient of "+name, c.StateGrad[name], grads[k])
		}
		for name, want := range c.StateAfter {
			check(t, name+" afterwards", want, vars[name].Value())
		}
	})
}
