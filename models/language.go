package models

import (
	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/nn"
)

// LSTMConfig describes an [LSTMModel].
type LSTMConfig struct {
	Vocab   int     // number of tokens
	Embed   int     // width of a token's vector; 0 stands for Hidden
	Hidden  int     // units of every layer; 0 stands for 128
	Layers  int     // 0 stands for 1
	Dropout float64 // of the embedding, between layers and before the decoder
	Tie     bool    // use the embedding as the decoder's weight; Embed has to equal Hidden
}

// LSTMModel is a recurrent language model: embedding, LSTM, decoder. Zaremba et
// al., "Recurrent neural network regularization", 2014; tied weights are Press and
// Wolf, 2017.
type LSTMModel struct {
	Embed   *nn.Embedding
	LSTM    *nn.LSTM
	Decoder *nn.Linear
	Drop1   *nn.Dropout
	Drop2   *nn.Dropout
}

// NewLSTMModel makes an LSTMModel. Embedding and decoder are U(±0.1), as in
// PyTorch's word language model.
func NewLSTMModel(c LSTMConfig) *LSTMModel {
	const name = "models.LSTM"
	positive(name, "Vocab", c.Vocab)
	c.Hidden = or(c.Hidden, 128)
	c.Embed = or(c.Embed, c.Hidden)
	if c.Tie && c.Embed != c.Hidden {
		ir.Fail(name, "tied weights with an embedding of %d and %d hidden units; they have to be equal", c.Embed, c.Hidden)
	}
	draw := nn.Init(nn.Uniform(-0.1, 0.1))
	m := &LSTMModel{
		Embed:   nn.NewEmbedding(c.Vocab, c.Embed, draw),
		LSTM:    nn.NewLSTM(c.Embed, c.Hidden, nn.Layers(or(c.Layers, 1)), nn.DropoutP(c.Dropout)),
		Decoder: nn.NewLinear(c.Hidden, c.Vocab, draw, nn.BiasInit(nn.Zeros)),
		Drop1:   nn.NewDropout(c.Dropout),
		Drop2:   nn.NewDropout(c.Dropout),
	}
	if c.Tie {
		m.Decoder.Weight = m.Embed.Weight
	}
	return m
}

// Forward maps tokens [B, T] (integers) to logits of the tokens that follow, [B,
// T, Vocab].
func (m *LSTMModel) Forward(ids *sinter.Tensor) *sinter.Tensor {
	y, _, _ := m.Run(ids, nil, nil)
	return y
}

// Run is Forward from given states h0 and c0 [Layers, B, Hidden] (nil for zeros); it
// also gives the last states.
func (m *LSTMModel) Run(ids, h0, c0 *sinter.Tensor) (logits, hn, cn *sinter.Tensor) {
	y, hn, cn := m.LSTM.Run(m.Drop1.Forward(m.Embed.Forward(ids)), h0, c0)
	return m.Decoder.Forward(m.Drop2.Forward(y)), hn, cn
}

// Generate continues a prompt, which must not be empty, by n tokens and returns
// those n. The state is carried from token to token, so that a token costs the same
// wherever it stands.
func (m *LSTMModel) Generate(prompt []int64, n int, o GenerateOptions) (out []int64, err error) {
	defer ir.Recover(&err)
	if err := checkPrompt(prompt, m.Embed.Weight.Shape()[0]); err != nil {
		return nil, err
	}
	defer nn.Evaluating(m)()
	var h, c *sinter.Tensor
	feed := prompt
	for range n {
		var logits *sinter.Tensor
		logits, h, c = m.Run(sinter.FromInts(feed, 1, len(feed)), h, c)
		last := logits.Index(1, -1)
		if err := sinter.Eval(last, h, c); err != nil {
			return nil, err
		}
		next := o.next(last.Floats())
		out = append(out, next)
		feed = []int64{next}
	}
	return out, nil
}
