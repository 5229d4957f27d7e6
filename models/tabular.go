package models

import (
	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/nn"
)

// MLPConfig describes an [MLP].
type MLPConfig struct {
	Inputs     int     // elements of an example, whatever its shape
	Hidden     []int   // units of the hidden layers; none makes a linear model
	Outputs    int     // classes, or numbers to predict
	Activation string  // as nn.ActivationByName knows it; "" is relu
	Dropout    float64 // after every hidden layer
	BatchNorm  bool    // before every activation
	Squeeze    bool    // with Outputs 1: give [N] instead of [N, 1], as targets of a regression are
}

// MLP is a multilayer perceptron: linear layers with an activation between them.
type MLP struct {
	Layers []*nn.Linear
	Norms  []*nn.BatchNorm1D
	Drops  []*nn.Dropout

	activation nn.Func
	inputs     int
	squeeze    bool
}

// NewMLP makes an MLP.
func NewMLP(c MLPConfig) *MLP {
	const name = "models.MLP"
	positive(name, "Inputs", c.Inputs, "Outputs", c.Outputs)
	if c.Squeeze && c.Outputs != 1 {
		ir.Fail(name, "Squeeze with %d outputs; it needs exactly 1", c.Outputs)
	}
	m := &MLP{activation: activation(name, c.Activation), inputs: c.Inputs, squeeze: c.Squeeze}
	in := c.Inputs
	for _, n := range c.Hidden {
		m.Layers = append(m.Layers, nn.NewLinear(in, n))
		if c.BatchNorm {
			m.Norms = append(m.Norms, nn.NewBatchNorm1D(n))
		}
		if c.Dropout > 0 {
			m.Drops = append(m.Drops, nn.NewDropout(c.Dropout))
		}
		in = n
	}
	m.Layers = append(m.Layers, nn.NewLinear(in, c.Outputs))
	return m
}

// Forward maps [N, …], Inputs elements an example, to [N, Outputs].
func (m *MLP) Forward(x *sinter.Tensor) *sinter.Tensor {
	if x.Rank() > 2 {
		x = x.Flatten(1)
	}
	if x.Rank() != 2 || x.Dim(1) != m.inputs {
		ir.Fail("models.MLP", "an input of shape %v; examples have to have %d elements", x.Shape(), m.inputs)
	}
	last := len(m.Layers) - 1
	for i, l := range m.Layers[:last] {
		x = l.Forward(x)
		if m.Norms != nil {
			x = m.Norms[i].Forward(x)
		}
		x = m.activation(x)
		if m.Drops != nil {
			x = m.Drops[i].Forward(x)
		}
	}
	x = m.Layers[last].Forward(x)
	if m.squeeze {
		x = x.Squeeze(1)
	}
	return x
}

// TabularConfig describes a [Tabular].
type TabularConfig struct {
	Inputs     int     // columns, after one-hot encoding
	Hidden     []int   // units of the hidden layers; nil is one layer of 128
	Outputs    int     // classes; 0 with Regression is 1
	Activation string  // as nn.ActivationByName knows it; "" is relu
	Dropout    float64 // after every hidden layer
	BatchNorm  bool    // before every activation
	InputNorm  bool    // normalise the columns over the batch first, for data that is not standardised
	Regression bool    // predict one number per row: [N] instead of [N, Outputs]
}

// Tabular is an MLP over the columns of a table.
type Tabular struct {
	InputNorm *nn.BatchNorm1D
	Net       *MLP
}

// NewTabular makes a Tabular.
func NewTabular(c TabularConfig) *Tabular {
	positive("models.Tabular", "Inputs", c.Inputs)
	if c.Hidden == nil {
		c.Hidden = []int{128}
	}
	if c.Regression {
		c.Outputs = or(c.Outputs, 1)
	}
	t := new(Tabular)
	if c.InputNorm {
		t.InputNorm = nn.NewBatchNorm1D(c.Inputs, nn.NoAffine())
	}
	t.Net = NewMLP(MLPConfig{
		Inputs: c.Inputs, Hidden: c.Hidden, Outputs: c.Outputs, Activation: c.Activation,
		Dropout: c.Dropout, BatchNorm: c.BatchNorm, Squeeze: c.Regression && c.Outputs == 1,
	})
	return t
}

// Forward maps rows [N, Inputs] to scores [N, Outputs], or to predictions [N] in a
// regression of one number.
func (t *Tabular) Forward(x *sinter.Tensor) *sinter.Tensor {
	if t.InputNorm != nil {
		x = t.InputNorm.Forward(x)
	}
	return t.Net.Forward(x)
}
