package optim_test

import (
	"math"
	"testing"

	"github.com/sinter-dl/sinter"
	"github.com/sinter-dl/sinter/internal/reftest"
	"github.com/sinter-dl/sinter/nn"
	"github.com/sinter-dl/sinter/optim"
)

// Update rules and schedules are compared with PyTorch's, Lion, which PyTorch does
// not have, with its published formula (scripts/reference/optimizers.py).

// rules makes a rule with a learning rate from a case's settings.
var rules = map[string]func(lr optim.Schedule, a reftest.Args) optim.Rule{
	"sgd": func(lr optim.Schedule, a reftest.Args) optim.Rule {
		return optim.SGD{LR: lr, Momentum: a.FloatOr("momentum", 0), Dampening: a.FloatOr("dampening", 0),
			WeightDecay: a.FloatOr("weight_decay", 0), Nesterov: a.Bool("nesterov")}
	},
	"adam": func(lr optim.Schedule, a reftest.Args) optim.Rule {
		return optim.Adam{LR: lr, Betas: betas(a), Eps: a.FloatOr("eps", 0), WeightDecay: a.FloatOr("weight_decay", 0), AMSGrad: a.Bool("amsgrad")}
	},
	"adamw": func(lr optim.Schedule, a reftest.Args) optim.Rule {
		return optim.AdamW{LR: lr, Betas: betas(a), Eps: a.FloatOr("eps", 0), WeightDecay: a.FloatOr("weight_decay", 0)}
	},
	"rmsprop": func(lr optim.Schedule, a reftest.Args) optim.Rule {
		return optim.RMSprop{LR: lr, Alpha: a.FloatOr("alpha", 0), Eps: a.FloatOr("eps", 0), WeightDecay: a.FloatOr("weight_decay", 0),
			Momentum: a.FloatOr("momentum", 0), Centered: a.Bool("centered")}
	},
	"adagrad": func(lr optim.Schedule, a reftest.Args) optim.Rule {
		return optim.Adagrad{LR: lr, LRDecay: a.FloatOr("lr_decay", 0), WeightDecay: a.FloatOr("weight_decay", 0),
			InitialAccumulatorValue: a.FloatOr("initial_accumulator_value", 0), Eps: a.FloatOr("eps", 0)}
	},
	"lion": func(lr optim.Schedule, a reftest.Args) optim.Rule {
		return optim.Lion{LR: lr, Betas: betas(a), WeightDecay: a.FloatOr("weight_decay", 0)}
	},
}

func betas(a reftest.Args) [2]float64 {
	if b := a.Floats("betas"); b != nil {
		return [2]float64(b)
	}
	return [2]float64{}
}

// regression is the problem of all rules: mean((x·Wᵀ + 3b − y)²).
type regression struct {
	Weight, Bias *sinter.Variable
	x, y         *sinter.Tensor
}

func (r *regression) loss() *sinter.Tensor {
	pred := r.x.MatMul(r.Weight.Value().T()).Add(r.Bias.Value().MulScalar(3))
	return pred.Sub(r.y).Square().Mean()
}

func (r *regression) parameters() []float64 {
	return append(r.Weight.Value().Float64s(), r.Bias.Value().Float64s()...)
}

func TestRuleReference(t *testing.T) {
	var about struct{ Problem map[string]*reftest.Tensor }
	all := reftest.Load(t, "testdata/rules.json", &about)
	reftest.Covered(t, rules, all)
	reftest.Run(t, all, func(t *testing.T, c *reftest.Case) {
		for _, d := range []sinter.DType{sinter.Float32, sinter.Float64} {
			value := func(name string) *sinter.Tensor {
				x := about.Problem[name]
				return sinter.FromBytes(d, x.Bytes(d), x.Shape...)
			}
			model := &regression{
				Weight: sinter.NewVariable("weight", value("weight")),
				Bias:   sinter.NewVariable("bias", value("bias")),
				x:      value("x"), y: value("y"),
			}
			var opts []optim.Option
			if c.Args.Has("clip_norm") {
				opts = append(opts, optim.ClipNorm(c.Args.Float("clip_norm")))
			}
			if c.Args.Has("clip_value") {
				opts = append(opts, optim.ClipValue(c.Args.Float("clip_value")))
			}
			if g, ok := c.Args["group"].(map[string]any); ok {
				group := reftest.Args(g)
				opts = append(opts, optim.Groups(optim.Group{
					Match:       func(v *sinter.Variable) bool { return v.Name == group.String("param") },
					LRScale:     group.Float("lr") / c.Args.Float("lr"),
					WeightDecay: new(group.Float("weight_decay")),
				}))
			}
			opt := optim.New(model, rules[c.Op](optim.Constant(c.Args.Float("lr")), c.Args), opts...)
			tol := reftest.Tolerance(d)
			for step, want := range c.Params {
				loss := model.loss()
				if err := opt.Step(loss); err != nil {
					t.Fatal(err)
				}
				if err := reftest.Near([]float64{loss.Float()}, c.Loss[step:step+1], tol); err != nil {
					t.Fatalf("%v step %d: loss: %v", d, step+1, err)
				}
				if err := reftest.Near(model.parameters(), want, tol); err != nil {
					t.Fatalf("%v step %d: %v", d, step+1, err)
				}
				if len(c.GradNorm) > 0 {
					if err := reftest.Near([]float64{opt.GradNorm()}, c.GradNorm[step:step+1], tol); err != nil {
						t.Fatalf("%v step %d: gradient norm: %v", d, step+1, err)
					}
				}
			}
		}
	})
}

// schedules makes a schedule from a case's arguments; lr is PyTorch's initial rate.
var schedules = map[string]func(lr float64, a reftest.Args) optim.Schedule{
	"constant": func(lr float64, _ reftest.Args) optim.Schedule { return optim.Constant(lr) },
	"step": func(lr float64, a reftest.Args) optim.Schedule {
		return optim.Step{Initial: lr, Gamma: a.Float("gamma"), Every: a.Int("every")}
	},
	"multi_step": func(lr float64, a reftest.Args) optim.Schedule {
		return optim.MultiStep{Initial: lr, Gamma: a.Float("gamma"), Milestones: a.Ints("milestones")}
	},
	"exponential": func(lr float64, a reftest.Args) optim.Schedule {
		return optim.Exponential{Initial: lr, Gamma: a.Float("gamma")}
	},
	"cosine": func(lr float64, a reftest.Args) optim.Schedule {
		return optim.Cosine{Peak: lr, Steps: a.Int("steps"), Final: a.Float("final")}
	},
	"warmup_cosine": func(lr float64, a reftest.Args) optim.Schedule {
		return optim.Cosine{Peak: lr, Warmup: a.Int("warmup"), Steps: a.Int("steps"), Final: a.Float("final")}
	},
	"cosine_restarts": func(lr float64, a reftest.Args) optim.Schedule {
		return optim.CosineRestarts{Peak: lr, Final: a.Float("final"), Period: a.Int("t0"), Mult: a.Int("mult")}
	},
	"linear": func(lr float64, a reftest.Args) optim.Schedule {
		return optim.Linear{From: lr * a.Float("start"), To: lr * a.Float("end"), Steps: a.Int("steps")}
	},
	"polynomial": func(lr float64, a reftest.Args) optim.Schedule {
		return optim.Polynomial{Initial: lr, Steps: a.Int("steps"), Power: a.Float("power")}
	},
	"one_cycle": func(_ float64, a reftest.Args) optim.Schedule {
		return optim.OneCycle{Peak: a.Float("peak"), Steps: a.Int("steps"), PctStart: a.Float("start_fraction"),
			DivFactor: a.Float("div"), FinalDivFactor: a.Float("final_div"), Linear: a.String("anneal") == "linear"}
	},
	"reduce_on_plateau": func(lr float64, a reftest.Args) optim.Schedule {
		return &optim.ReduceOnPlateau{Initial: lr, Factor: a.Float("factor"), Patience: a.Int("patience"), Threshold: a.FloatOr("threshold", 0),
			Absolute: a.Bool("absolute"), Cooldown: a.IntOr("cooldown", 0), Min: a.FloatOr("min_lr", 0), Max: a.Bool("max")}
	},
}

func TestScheduleReference(t *testing.T) {
	all := reftest.Load(t, "testdata/schedules.json", nil)
	reftest.Covered(t, schedules, all)
	reftest.Run(t, all, func(t *testing.T, c *reftest.Case) {
		s := schedules[c.Op](c.Args.Float("lr"), c.Args)
		for step, want := range c.LR {
			if got := s.At(step); !(math.Abs(got-want) <= 1e-9*(1+math.Abs(want))) {
				t.Errorf("step %d: %.10g, want %.10g", step, got, want)
			}
			if p, ok := s.(*optim.ReduceOnPlateau); ok {
				p.Observe(c.Metric[step])
			}
		}
	})
}

// scaled is the model of the reference runs with a scaled loss.
type scaled struct {
	W1, B1, W2, B2 *sinter.Variable
}

func (m *scaled) Forward(x *sinter.Tensor) *sinter.Tensor {
	h := nn.ReLU(x.MatMul(m.W1.Value().T()).Add(m.B1.Value()))
	return h.MatMul(m.W2.Value().T()).Add(m.B2.Value())
}

// Training in float16 with a scaled loss goes as with PyTorch's GradScaler: the same
// steps overflow and are skipped, scale and tracker are the same after each, and so are
// the weights, whether steps are recorded or compiled.
// Tolerances allow for sums of another order being rounded to another float16.
func TestScalerReference(t *testing.T) {
	var about struct {
		X, Y  *reftest.Tensor
		Start map[string]*reftest.Tensor
	}
	reftest.Run(t, reftest.Load(t, "testdata/scaler.json", &about), func(t *testing.T, c *reftest.Case) {
		x := sinter.FromBytes(sinter.Float32, about.X.Bytes(sinter.Float32), about.X.Shape...)
		y := sinter.FromBytes(sinter.Int64, about.Y.Bytes(sinter.Int64), about.Y.Shape...)
		for _, way := range []string{"recorded", "compiled"} {
			start := func(name string) *sinter.Variable {
				v := about.Start[name]
				return sinter.NewVariable(name, sinter.FromBytes(sinter.Float32, v.Bytes(sinter.Float32), v.Shape...))
			}
			m := &scaled{start("w1"), start("b1"), start("w2"), start("b2")}
			opts := []optim.Option{optim.Precision(sinter.FP16), optim.LossScaling(optim.GradScaler{
				InitScale: c.Args.Float("init_scale"), GrowthInterval: c.Args.Int("growth_interval"),
				GrowthFactor: c.Args.FloatOr("growth_factor", 0), BackoffFactor: c.Args.FloatOr("backoff_factor", 0),
			})}
			if c.Args.Has("clip_norm") {
				opts = append(opts, optim.ClipNorm(c.Args.Float("clip_norm")))
			}
			opt := optim.New([]*sinter.Variable{m.W1, m.B1, m.W2, m.B2}, rules[c.Op](optim.Constant(c.Args.Float("lr")), c.Args), opts...)
			step := opt.Compile(func(in []*sinter.Tensor) (*sinter.Tensor, []*sinter.Tensor) {
				return nn.CrossEntropy(m.Forward(in[0]), in[1]), nil
			})
			skipped := 0
			for i, scale := range c.Scale {
				var loss *sinter.Tensor
				var err error
				if way == "recorded" {
					loss = nn.CrossEntropy(m.Forward(x), y)
					err = opt.Step(loss)
				} else {
					loss, _, err = step.Step(x, y)
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := reftest.Near([]float64{loss.Float()}, c.Loss[i:i+1], reftest.Tol{Rel: 1e-4}); err != nil {
					t.Fatalf("%s, step %d: loss: %v", way, i+1, err)
				}
				if i == 0 && scale < c.Args.Float("init_scale") || i > 0 && scale < c.Scale[i-1] {
					skipped++
				}
				if opt.Scale() != scale || opt.Skipped() != skipped || opt.Steps() != i+1-skipped {
					t.Fatalf("%s, step %d: scale %v, want %v; %d skipped, want %d; %d steps", way, i+1, opt.Scale(), scale, opt.Skipped(), skipped, opt.Steps())
				}
				if len(c.GradNorm) > 0 && c.GradNorm[i] != 0 { // 0: it was not finite
					if err := reftest.Near([]float64{opt.GradNorm()}, c.GradNorm[i:i+1], reftest.Tol{Rel: 1e-3}); err != nil {
						t.Fatalf("%s, step %d: norm: %v", way, i+1, err)
					}
				}
				if i%10 == 9 {
					var got []float64
					for _, v := range opt.Parameters() {
						got = append(got, v.Value().Float64s()...)
					}
					if err := reftest.Near(got, c.Params[i/10], reftest.Tol{Rel: 1e-4, Abs: 1e-4}); err != nil {
						t.Fatalf("%s, step %d: %v", way, i+1, err)
					}
				}
			}
		}
	})
}
