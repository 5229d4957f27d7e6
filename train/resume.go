package train

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/data"
	"github.com/sinter-dl/sinter/format/safetensors"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/power"
	"github.com/sinter-dl/sinter/train/checkpoint"
)

// saved is what a checkpoint has besides tensors: its state.json.
type saved struct {
	Format int `json:"format"`

	Epoch     int      `json:"epoch"`
	EpochStep int      `json:"epoch_step"`
	Step      int      `json:"step"`
	Samples   int      `json:"samples"`
	Evaluated int      `json:"evaluated"` // the step of the last evaluation
	Ended     bool     `json:"ended"`     // the epoch, with all that follows its last step
	Loss      exact    `json:"loss"`
	LR        exact    `json:"lr"`
	LossSum   exact    `json:"loss_sum"`
	LossCount int      `json:"loss_count"`
	Metrics   []sums   `json:"metrics"`
	History   []result `json:"history"`

	Loader    data.LoaderState  `json:"loader"`
	Generator []byte            `json:"generator"`   // of all random numbers that have no seed of their own
	Keys      map[string]uint64 `json:"random_keys"` // of the model's layers
	Callbacks map[string][]byte `json:"callbacks"`

	// What the run has consumed.
	Elapsed   time.Duration `json:"elapsed_ns"`
	TrainTime time.Duration `json:"training_ns"`
	Usage     *power.Usage  `json:"usage,omitempty"` // if it was counted
	Phases    *Phases       `json:"phases,omitempty"`

	Batch int   `json:"batch"` // now; Made has that of the beginning
	Log   int64 `json:"log"`   // position, see Checkpoint.Log
	Made  made  `json:"made"`
}

// savedFormat is the version of saved.
const savedFormat = 1

// made is on what terms the steps were made; with others a run cannot go on.
type made struct {
	Examples   int    `json:"examples"`
	Batch      int    `json:"batch"`
	Accumulate int    `json:"accumulate"`
	Seed       uint64 `json:"seed"`
	Precision  string `json:"precision"`
}

// sums is the state of a metric.
type sums struct {
	Name  string  `json:"name"`
	State []exact `json:"state"`
}

// result is an Evaluation.
type result struct {
	Epoch        int          `json:"epoch"`
	Step         int          `json:"step"`
	TrainLoss    exact        `json:"train_loss"`
	TrainMetrics []namedExact `json:"train_metrics,omitempty"`
	Tested       bool         `json:"tested"`
	TestLoss     exact        `json:"test_loss"`
	Metrics      []namedExact `json:"metrics,omitempty"`
}

type namedExact struct {
	Name  string `json:"name"`
	Value exact  `json:"value"`
}

// exact is a float64 whose bits survive JSON, also if it is not finite.
type exact float64

// MarshalJSON writes the shortest number that is this one, or a string.
func (e exact) MarshalJSON() ([]byte, error) {
	f := float64(e)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.AppendQuote(nil, strconv.FormatFloat(f, 'g', -1, 64)), nil
	}
	return strconv.AppendFloat(nil, f, 'g', -1, 64), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *exact) UnmarshalJSON(text []byte) error {
	f, err := strconv.ParseFloat(strings.Trim(string(text), `"`), 64)
	*e = exact(f)
	return err
}

func exactly(values []Value) []namedExact {
	var es []namedExact
	for _, v := range values {
		es = append(es, namedExact{v.Name, exact(v.Value)})
	}
	return es
}

func inexactly(es []namedExact) []Value {
	var values []Value
	for _, e := range es {
		values = append(values, Value{e.Name, float64(e.Value)})
	}
	return values
}

// The files of tensors in a checkpoint.
const (
	modelPart     = "model"
	optimizerPart = "optimizer"
	callbackPart  = "callbacks"
)

// snapshot copies all that the run depends on to c, whose memory is used again.
func (r *fit) snapshot(c *copied, score *checkpoint.Score, logPosition int64) error {
	s := r.state
	generator, err := sinter.DefaultGenerator().MarshalBinary()
	if err != nil {
		return err
	}
	state := saved{
		Format: savedFormat,
		Epoch:  s.Epoch, EpochStep: s.EpochStep, Step: s.Step, Samples: s.Samples,
		Evaluated: r.evaluated, Ended: r.ended,
		Loss: exact(s.Loss), LR: exact(s.LR), LossSum: exact(r.lossSum), LossCount: r.lossCount,
		Loader:    r.loader.State(),
		Generator: generator, Keys: nn.RandomKeys(s.Model), Callbacks: map[string][]byte{},
		Elapsed: time.Since(r.start), TrainTime: s.trainTime,
		Batch: r.batch(), Log: logPosition, Made: r.made,
	}
	r.settle(training)
	if s.Usage.Seconds > 0 {
		state.Usage, state.Phases = &s.Usage, &s.Phases
	}
	for _, m := range r.Metrics {
		sum := sums{Name: m.Name()}
		for _, v := range m.State() {
			sum.State = append(sum.State, exact(v))
		}
		state.Metrics = append(state.Metrics, sum)
	}
	for _, e := range r.state.History {
		state.History = append(state.History, result{e.Epoch, e.Step, exact(e.TrainLoss), exactly(e.TrainMetrics), e.Tested, exact(e.TestLoss), exactly(e.Metrics)})
	}
	parts := map[string][]*sinter.Variable{
		modelPart:     nn.State(s.Model),
		optimizerPart: r.optimizer.State(),
	}
	names := map[*sinter.Variable]string{}
	err = r.stateful(func(name string, callback Stateful, vars []*sinter.Variable) error {
		if _, taken := state.Callbacks[name]; taken {
			return fmt.Errorf("two callbacks are called %q", name)
		}
		if state.Callbacks[name], err = callback.SaveState(); err != nil {
			return fmt.Errorf("callback %s: %w", name, err)
		}
		for _, v := range vars {
			names[v] = name + "/" + v.Name
			parts[callbackPart] = append(parts[callbackPart], v)
		}
		return nil
	})
	if err != nil {
		return err
	}
	content := &checkpoint.Content{Step: s.Step, Score: score, Tensors: map[string][]safetensors.Tensor{}}
	order := []string{modelPart, optimizerPart, callbackPart}
	var vars []*sinter.Variable
	var sizes []int
	for _, part := range order {
		for _, v := range parts[part] {
			vars = append(vars, v)
			sizes = append(sizes, v.Len()*v.DType().Size())
		}
	}
	if err := c.take(sizes); err != nil {
		return err
	}
	i := 0
	for _, part := range order {
		for _, v := range parts[part] {
			name := v.Name
			if part == callbackPart {
				name = names[v]
			}
			content.Tensors[part] = append(content.Tensors[part], safetensors.Tensor{Name: name, DType: v.DType(), Shape: v.Shape(), Data: c.memory[i]})
			i++
		}
	}
	if c.wait, err = sinter.SnapshotVariables(vars, c.memory); err != nil {
		return err
	}
	content.State, err = json.Marshal(state)
	c.content = content
	return err
}

func (r *fit) terms() made {
	return made{r.loader.Dataset.Len(), r.batch(), r.accumulate(), r.Seed, r.Precision.String()}
}

// stateful calls f for the callbacks that have a memory, with their variables.
func (r *fit) stateful(f func(name string, c Stateful, vars []*sinter.Variable) error) error {
	for _, c := range r.Callbacks {
		c, ok := c.(Stateful)
		if !ok {
			continue
		}
		var vars []*sinter.Variable
		if h, ok := c.(interface{ StateVariables() []*sinter.Variable }); ok {
			vars = h.StateVariables()
		}
		if err := f(c.StateName(), c, vars); err != nil {
			return err
		}
	}
	return nil
}

// resumed is what a run goes on from.
type resumed struct {
	path    string
	state   saved
	content *checkpoint.Content
}

// resume returns to a checkpoint if the run is to go on from one; else the result is
// nil. The memory of callbacks is left to recall.
func (r *fit) resume() (*resumed, error) {
	v := r.saver
	if v == nil {
		return nil, nil
	}
	from := &resumed{path: v.From}
	var err error
	if from.path == "" && v.Resume {
		if from.path, err = checkpoint.Latest(v.Dir); err != nil {
			return nil, err
		}
	}
	if from.path == "" {
		return nil, nil
	}
	if from.content, err = checkpoint.Read(from.path); err != nil {
		return nil, err
	}
	if err = json.Unmarshal(from.content.State, &from.state); err != nil {
		err = fmt.Errorf("its state: %w", err)
	} else {
		err = r.restore(from.state, from.content)
	}
	if err == nil && v.CutLog != nil {
		if err = v.CutLog(from.state.Log); err != nil {
			err = fmt.Errorf("the run's log: %w", err)
		}
	}
	if err == nil { // what came after it will come again
		err = checkpoint.RemoveAfter(v.Dir, from.path)
	}
	if err != nil {
		return nil, fmt.Errorf("going on from %s: %w", from.path, err)
	}
	v.step, v.path = from.content.Step, from.path
	return from, nil
}

// restore sets all that snapshot has copied, but for callbacks.
func (r *fit) restore(state saved, content *checkpoint.Content) error {
	if state.Format < 1 || state.Format > savedFormat {
		return fmt.Errorf("its state has format %d; this version of Sinter reads up to %d", state.Format, savedFormat)
	}
	if now := r.made; state.Made != now {
		return fmt.Errorf("it was made with %v, and this Trainer has %v", state.Made, now)
	}
	s := r.state
	if err := nn.SetRandomKeys(s.Model, state.Keys); err != nil {
		return err
	}
	if err := nn.LoadState(s.Model, tensors(content.Tensors[modelPart]), true); err != nil {
		return err
	}
	if err := r.optimizer.LoadState(tensors(content.Tensors[optimizerPart])); err != nil {
		return err
	}
	if err := sinter.DefaultGenerator().UnmarshalBinary(state.Generator); err != nil {
		return err
	}
	if err := r.loader.SetState(state.Loader); err != nil {
		return err
	}
	if len(state.Metrics) != len(r.Metrics) {
		return fmt.Errorf("it has %d metrics, and this Trainer %d", len(state.Metrics), len(r.Metrics))
	}
	for i, m := range r.Metrics {
		if m.Name() != state.Metrics[i].Name {
			return fmt.Errorf("its metric %d is %s, and this Trainer's %s", i, state.Metrics[i].Name, m.Name())
		}
		var numbers []float64
		for _, v := range state.Metrics[i].State {
			numbers = append(numbers, float64(v))
		}
		if err := m.SetState(numbers); err != nil {
			return err
		}
	}
	s.Epoch, s.EpochStep, s.Step, s.Samples = state.Epoch, state.EpochStep, state.Step, state.Samples
	s.Loss, s.LR = float64(state.Loss), float64(state.LR)
	s.Scale, s.Skipped = r.optimizer.Scale(), r.optimizer.Skipped()
	r.lossSum, r.lossCount = float64(state.LossSum), state.LossCount
	if r.lossCount > 0 {
		s.TrainLoss = r.lossSum / float64(r.lossCount)
	}
	s.TrainMetrics = values(r.Metrics)
	r.evaluated, r.ended = state.Evaluated, state.Ended
	r.state.History = nil
	for _, e := range state.History {
		r.state.History = append(r.state.History, Evaluation{e.Epoch, e.Step, float64(e.TrainLoss), inexactly(e.TrainMetrics), e.Tested, float64(e.TestLoss), inexactly(e.Metrics)})
	}
	if n := len(r.state.History); n > 0 {
		s.Last = &r.state.History[n-1]
	}
	if state.Batch != r.batch() {
		r.rebatch(state.Batch)
	}
	if state.Usage != nil && state.Phases != nil { // else nothing was counted
		s.Usage, s.Phases = *state.Usage, *state.Phases // and stays, if nothing is from here on
	}
	if r.account != nil {
		if err := r.account.open(s.Usage, s.Phases); err != nil {
			return err
		}
		r.meter(training)
	}
	s.Elapsed, s.trainTime = state.Elapsed, state.TrainTime
	r.start = time.Now().Add(-state.Elapsed)
	return nil
}

// recall gives callbacks the memory that they had. They have seen OnTrainBegin, in
// which they make what it is put into.
func (r *fit) recall(from *resumed) error {
	if from == nil {
		return nil
	}
	kept := tensors(from.content.Tensors[callbackPart])
	return r.stateful(func(name string, c Stateful, vars []*sinter.Variable) error {
		memory, ok := from.state.Callbacks[name]
		if !ok {
			r.state.Warn(fmt.Sprintf("the checkpoint has nothing of the callback %s, which begins anew", name))
			return nil
		}
		for _, v := range vars {
			t, ok := kept[name+"/"+v.Name]
			if !ok {
				return fmt.Errorf("callback %s: it has no %s", name, v.Name)
			}
			b, err := t.Bytes()
			if err == nil {
				err = v.SetBytes(b)
			}
			if err != nil {
				return fmt.Errorf("callback %s: %w", name, err)
			}
		}
		if err := c.LoadState(memory); err != nil {
			return fmt.Errorf("callback %s: %w", name, err)
		}
		return nil
	})
}

func (m made) String() string {
	return fmt.Sprintf("%d examples in batches of %d (×%d), seed %d, %s", m.Examples, m.Batch, m.Accumulate, m.Seed, m.Precision)
}

// tensors are values by name.
func tensors(list []safetensors.Tensor) map[string]*sinter.Tensor {
	m := make(map[string]*sinter.Tensor, len(list))
	for _, t := range list {
		m[t.Name] = sinter.FromBytes(t.DType, t.Data, t.Shape...)
	}
	return m
}
