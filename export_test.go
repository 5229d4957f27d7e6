package sinter

import (
	"github.com/sinter-dl/sinter/internal/backend/null"
	"github.com/sinter-dl/sinter/internal/device"
	"github.com/sinter-dl/sinter/internal/ir"
	"github.com/sinter-dl/sinter/internal/kernel"
	"github.com/sinter-dl/sinter/internal/plan"
)

// Plans runs f and returns the programs of its evaluations as they are planned for
// the device that is none, with the composites of the processor.
func Plans(f func()) []*kernel.Program { return PlansFor(null.New("attention", "attention_grad"), f) }

// PlansFor is Plans for another device.
func PlansFor(t plan.Target, f func()) (programs []*kernel.Program) {
	before := observe
	observe = func(outputs, leaves []*ir.Node, p plan.Precision) {
		programs = append(programs, plan.Build(outputs, leaves, t, p))
	}
	defer func() { observe = before }()
	f()
	return programs
}

// hollow is the processor with programs that compute nothing, so that what is left
// of an evaluation is the host's part.
type hollow struct{ device.Device }

type nothing struct{}

func (nothing) Run(_, _ []device.Buffer) error { return nil }
func (nothing) Close()                         {}

func (hollow) Compile(*kernel.Program) (device.Executable, error) { return nothing{}, nil }

// Hollow runs f on programs that compute nothing.
func Hollow(f func()) {
	e, err := inUse()
	if err != nil {
		panic(err)
	}
	before := e.programs
	e.programs = plan.NewCache(hollow{e.dev}, maxPrograms)
	defer func() { e.programs = before }()
	f()
}
