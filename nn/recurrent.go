package nn

import (
	"fmt"
	"iter"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
)

// cell is one layer in one direction: what PyTorch calls weight_ih_l0 and so on.
type cell struct {
	suffix             string           // "_l0", "_l0_reverse"
	weightIH, weightHH *sinter.Variable // [gates·H, in], [gates·H, H]
	biasIH, biasHH     *sinter.Variable // [gates·H], nil without
	reverse            bool
}

// recurrent is what RNN, LSTM and GRU have in common: stacked layers, each of one
// or two directions. The product of the input with its weights does not depend on
// the state, so it is one matrix product over all time steps; only the product
// with the state is inside of the Scan.
type recurrent struct {
	cells     []*cell // by layer, then by direction
	drops     []*Dropout
	hidden    int
	gates     int
	timeFirst bool
	name      string
}

const recurrentOptions = "Layers Bidirectional NoBias DropoutP TimeFirst DType"

func newRecurrent(name string, input, hidden, gates int, o options) recurrent {
	if o.layers == 0 {
		o.layers = 1
	}
	positive(name, "input", input, "hidden", hidden, "layers", o.layers)
	r := recurrent{hidden: hidden, gates: gates, timeFirst: o.timeFirst, name: name}
	directions := 1
	if o.bidirectional {
		directions = 2
	}
	// All of a layer's variables are U(±1/√hidden), whatever their fan in.
	draw := fanInUniform(hidden)
	for l := range o.layers {
		if l > 0 {
			input = directions * hidden
			r.drops = append(r.drops, NewDropout(o.dropout))
		}
		for d := range directions {
			c := &cell{suffix: fmt.Sprintf("_l%d", l), reverse: d == 1}
			if c.reverse {
				c.suffix += "_reverse"
			}
			c.weightIH = NewParameter(draw, o.dtype, gates*hidden, input)
			c.weightHH = NewParameter(draw, o.dtype, gates*hidden, hidden)
			if !o.noBias {
				c.biasIH = NewParameter(draw, o.dtype, gates*hidden)
				c.biasHH = NewParameter(draw, o.dtype, gates*hidden)
			}
			r.cells = append(r.cells, c)
		}
	}
	return r
}

// Children gives the variables under PyTorch's names (weight_ih_l0, weight_hh_l0,
// bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse, …) and the dropouts between layers.
func (r *recurrent) Children() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for _, c := range r.cells {
			if !yield("weight_ih"+c.suffix, c.weightIH) || !yield("weight_hh"+c.suffix, c.weightHH) ||
				!yield("bias_ih"+c.suffix, c.biasIH) || !yield("bias_hh"+c.suffix, c.biasHH) {
				return
			}
		}
		yield("dropouts", r.drops)
	}
}

// Variable finds a variable by its PyTorch name, such as "weight_ih_l0"; nil if
// there is none.
func (r *recurrent) Variable(name string) *sinter.Variable {
	for n, child := range r.Children() {
		if v, ok := child.(*sinter.Variable); ok && n == name {
			return v
		}
	}
	return nil
}

// directions is 2 for a bidirectional layer.
func (r *recurrent) directions() int { return len(r.cells) / (len(r.drops) + 1) }

// step computes one time step: gates is the input's share [B, gates·H], with
// biases, carry the state [B, H] each; the first of the new carry is also the
// layer's result. hidden is what the state contributes, see [recurrent.run].
type step func(gates *sinter.Tensor, carry []*sinter.Tensor, hidden func(h *sinter.Tensor) *sinter.Tensor) []*sinter.Tensor

// run applies all layers. states are the initial states [layers·D, B, H] (nil for
// zeros), as many as a carry has parts. insideBias keeps the hidden bias inside of
// the step instead of adding it once to all time steps, for a GRU, which multiplies
// it by a gate.
func (r *recurrent) run(x *sinter.Tensor, states []*sinter.Tensor, insideBias bool, f step) (y *sinter.Tensor, last []*sinter.Tensor) {
	rank(r.name, x, 3)
	if !r.timeFirst {
		x = x.Transpose(0, 1)
	}
	batch := x.Dim(1)
	d := r.directions()
	init := r.initial(x, states, batch)
	final := make([][]*sinter.Tensor, len(states)) // by part of the carry, then by cell
	for l := range len(r.cells) / d {
		if l > 0 {
			x = r.drops[l-1].Forward(x)
		}
		outs := make([]*sinter.Tensor, d)
		for k := range d {
			i := l*d + k
			c := r.cells[i]
			gates := sinter.Linear(x, c.weightIH.Value(), value(c.biasIH)) // [T, B, gates·H]
			var bias *sinter.Tensor
			if c.biasHH != nil {
				if bias = c.biasHH.Value(); !insideBias {
					gates, bias = gates.Add(bias), nil
				}
			}
			w := c.weightHH.Value()
			hidden := func(h *sinter.Tensor) *sinter.Tensor { return sinter.Linear(h, w, bias) }
			carry := make([]*sinter.Tensor, len(states))
			for s := range carry {
				carry[s] = init[s].Index(0, i)
			}
			carry, ys := sinter.Scan(func(carry, xs []*sinter.Tensor) (next, y []*sinter.Tensor) {
				next = f(xs[0], carry, hidden)
				return next, next[:1]
			}, carry, []*sinter.Tensor{gates}, c.reverse)
			outs[k] = ys[0]
			for s := range carry {
				final[s] = append(final[s], carry[s])
			}
		}
		if x = outs[0]; d == 2 {
			x = sinter.Cat(-1, outs...)
		}
	}
	for _, parts := range final {
		last = append(last, sinter.Stack(0, parts...))
	}
	if !r.timeFirst {
		x = x.Transpose(0, 1)
	}
	return x, last
}

// initial checks the given states and replaces missing ones by zeros.
func (r *recurrent) initial(x *sinter.Tensor, states []*sinter.Tensor, batch int) []*sinter.Tensor {
	init := make([]*sinter.Tensor, len(states))
	for i, s := range states {
		switch {
		case s == nil:
			init[i] = sinter.Zeros(x.DType(), len(r.cells), batch, r.hidden)
		case s.Rank() != 3 || s.Dim(0) != len(r.cells) || s.Dim(1) != batch || s.Dim(2) != r.hidden:
			ir.Fail(r.name, "a state of shape %v; it has to be [%d %d %d]: layers times directions, batch, hidden", s.Shape(), len(r.cells), batch, r.hidden)
		default:
			init[i] = s
		}
	}
	return init
}

// RNN is a stack of Elman layers, h' = tanh(W_ih·x + b_ih + W_hh·h + b_hh).
type RNN struct {
	recurrent
	relu bool
}

// NewRNN makes an RNN from input features to hidden units. All variables are
// U(±1/√hidden); their names are PyTorch's. Options: Layers, Bidirectional,
// NoBias, DropoutP (between layers), TimeFirst, ReLUCell, DType.
func NewRNN(input, hidden int, opts ...Option) *RNN {
	const name = "nn.NewRNN"
	o := configure(name, options{}, opts, recurrentOptions+" ReLUCell")
	return &RNN{newRecurrent(name, input, hidden, 1, o), o.reluCell}
}

// Forward maps [B, T, input] to the results of all time steps, [B, T, D·hidden],
// D being 2 for a bidirectional layer and 1 else, beginning with a state of zeros.
func (r *RNN) Forward(x *sinter.Tensor) *sinter.Tensor {
	y, _ := r.Run(x, nil)
	return y
}

// Run is Forward from a given state h0 [layers·D, B, hidden] (nil for zeros); it
// also gives the last state.
func (r *RNN) Run(x, h0 *sinter.Tensor) (y, hn *sinter.Tensor) {
	activation := Tanh
	if r.relu {
		activation = ReLU
	}
	y, last := r.run(x, []*sinter.Tensor{h0}, false, func(gates *sinter.Tensor, carry []*sinter.Tensor, hidden func(*sinter.Tensor) *sinter.Tensor) []*sinter.Tensor {
		return []*sinter.Tensor{activation(gates.Add(hidden(carry[0])))}
	})
	return Record(r, y, x), last[0]
}

// LSTM is a stack of long short-term memory layers, gates in the order input,
// forget, cell, output. Hochreiter and Schmidhuber, 1997.
type LSTM struct{ recurrent }

// NewLSTM makes an LSTM from input features to hidden units. All variables are
// U(±1/√hidden); their names are PyTorch's. Options: Layers, Bidirectional,
// NoBias, DropoutP (between layers), TimeFirst, DType.
func NewLSTM(input, hidden int, opts ...Option) *LSTM {
	const name = "nn.NewLSTM"
	return &LSTM{newRecurrent(name, input, hidden, 4, configure(name, options{}, opts, recurrentOptions))}
}

// Forward maps [B, T, input] to [B, T, D·hidden], as [RNN.Forward] does.
func (l *LSTM) Forward(x *sinter.Tensor) *sinter.Tensor {
	y, _, _ := l.Run(x, nil, nil)
	return y
}

// Run is Forward from given states h0 and c0 [layers·D, B, hidden] (nil for
// zeros); it also gives the last states.
func (l *LSTM) Run(x, h0, c0 *sinter.Tensor) (y, hn, cn *sinter.Tensor) {
	y, last := l.run(x, []*sinter.Tensor{h0, c0}, false, func(gates *sinter.Tensor, carry []*sinter.Tensor, hidden func(*sinter.Tensor) *sinter.Tensor) []*sinter.Tensor {
		g := gates.Add(hidden(carry[0])).Chunk(4, -1)
		in, forget, cell, out := g[0].Sigmoid(), g[1].Sigmoid(), g[2].Tanh(), g[3].Sigmoid()
		c := forget.Mul(carry[1]).Add(in.Mul(cell))
		return []*sinter.Tensor{out.Mul(c.Tanh()), c}
	})
	return Record(l, y, x), last[0], last[1]
}

// GRU is a stack of gated recurrent layers, gates in the order reset, update, new.
// Cho et al., 2014; as in PyTorch and cuDNN the reset gate is applied after the
// product with the state.
type GRU struct{ recurrent }

// NewGRU makes a GRU from input features to hidden units. All variables are
// U(±1/√hidden); their names are PyTorch's. Options: Layers, Bidirectional,
// NoBias, DropoutP (between layers), TimeFirst, DType.
func NewGRU(input, hidden int, opts ...Option) *GRU {
	const name = "nn.NewGRU"
	return &GRU{newRecurrent(name, input, hidden, 3, configure(name, options{}, opts, recurrentOptions))}
}

// Forward maps [B, T, input] to [B, T, D·hidden], as [RNN.Forward] does.
func (g *GRU) Forward(x *sinter.Tensor) *sinter.Tensor {
	y, _ := g.Run(x, nil)
	return y
}

// Run is Forward from a given state h0 [layers·D, B, hidden] (nil for zeros); it
// also gives the last state.
func (g *GRU) Run(x, h0 *sinter.Tensor) (y, hn *sinter.Tensor) {
	y, last := g.run(x, []*sinter.Tensor{h0}, true, func(gates *sinter.Tensor, carry []*sinter.Tensor, hidden func(*sinter.Tensor) *sinter.Tensor) []*sinter.Tensor {
		h := carry[0]
		in, state := gates.Chunk(3, -1), hidden(h).Chunk(3, -1)
		reset := in[0].Add(state[0]).Sigmoid()
		update := in[1].Add(state[1]).Sigmoid()
		fresh := in[2].Add(reset.Mul(state[2])).Tanh()
		return []*sinter.Tensor{fresh.Add(update.Mul(h.Sub(fresh)))}
	})
	return Record(g, y, x), last[0]
}
