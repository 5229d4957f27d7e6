package nn

// Mode is embedded in layers that do something else in training than in use:
// Dropout, BatchNorm. The zero value is training, as in PyTorch. It is a plain
// value of the layer, not a global flag, so that one model can be evaluated while
// another is trained.
type Mode struct{ eval bool }

// Training tells whether the layer is in training.
func (m *Mode) Training() bool { return !m.eval }

// SetTraining sets the mode of this layer; [Train] and [Eval] call it on every
// layer of a model.
func (m *Mode) SetTraining(on bool) { m.eval = !on }

// Train puts every layer of a model into training mode.
func Train(model any) { setTraining(model, true) }

// Eval puts every layer of a model into the mode of use: Dropout passes its input
// on, BatchNorm takes its running statistics.
func Eval(model any) { setTraining(model, false) }

func setTraining(model any, on bool) {
	for _, l := range modal(model) {
		l.SetTraining(on)
	}
}

// Evaluating is [Eval] that can be undone: restore puts every layer back into the
// mode it was in.
//
//	defer nn.Evaluating(model)()
func Evaluating(model any) (restore func()) {
	layers := modal(model)
	before := make([]bool, len(layers))
	for i, l := range layers {
		before[i] = l.Training()
	}
	setTraining(model, false)
	return func() {
		for i, l := range layers {
			l.SetTraining(before[i])
		}
	}
}

type hasMode interface {
	Training() bool
	SetTraining(on bool)
}

// modal lists the layers that have a mode.
func modal(model any) []hasMode {
	var layers []hasMode
	walk(model, nil, func(_ string, layer any) {
		if l, ok := layer.(hasMode); ok {
			layers = append(layers, l)
		}
	})
	return layers
}
