package models

import (
	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/nn"
)

// ForecastConfig describes an [LSTMForecast].
type ForecastConfig struct {
	Features int     // numbers of each row
	Hidden   int     // units of every layer; 0 stands for 128
	Layers   int     // 0 stands for 1
	Horizon  int     // numbers to forecast; 0 stands for 1
	Dropout  float64 // between layers and before the head
}

// LSTMForecast forecasts a time series: an LSTM reads a window row by row, and a linear
// layer makes the forecast of its last output.
type LSTMForecast struct {
	LSTM *nn.LSTM
	Drop *nn.Dropout
	Head *nn.Linear
}

// NewLSTMForecast makes an LSTMForecast.
func NewLSTMForecast(c ForecastConfig) *LSTMForecast {
	positive("models.LSTMForecast", "Features", c.Features)
	c.Hidden = or(c.Hidden, 128)
	return &LSTMForecast{
		LSTM: nn.NewLSTM(c.Features, c.Hidden, nn.Layers(or(c.Layers, 1)), nn.DropoutP(c.Dropout)),
		Drop: nn.NewDropout(c.Dropout),
		Head: nn.NewLinear(c.Hidden, or(c.Horizon, 1)),
	}
}

// Forward maps windows [B, T, Features] to forecasts [B, Horizon].
func (m *LSTMForecast) Forward(x *sinter.Tensor) *sinter.Tensor {
	return m.Head.Forward(m.Drop.Forward(m.LSTM.Forward(x).Index(1, -1)))
}
