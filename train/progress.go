package train

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// ProgressBar writes one line that is renewed while training goes, and one line that
// stays for every evaluation. It is for a terminal; lines end in a carriage return
// until they stay.
type ProgressBar struct {
	NopCallback
	Out io.Writer // os.Stderr, as a rule

	shown time.Time
	width int // of the line that is shown, to be overwritten
}

const (
	barWidth    = 24
	barInterval = 100 * time.Millisecond
)

// OnStep renews the line, at most ten times a second.
func (p *ProgressBar) OnStep(s *State) {
	if now := time.Now(); now.Sub(p.shown) >= barInterval || s.Step == s.Steps {
		p.shown = now
		full := 0
		if s.Steps > 0 {
			full = barWidth * s.Step / s.Steps
		}
		p.write(fmt.Sprintf("epoch %d/%d  %s%s  %d/%d  loss %.4g%s  %.0f samples/s  %v left", s.Epoch, s.Epochs,
			strings.Repeat("█", full), strings.Repeat("░", barWidth-full), s.Step, s.Steps,
			s.TrainLoss, list("", s.TrainMetrics), s.SamplesPerSecond(), s.Left().Round(time.Second)), "\r")
	}
}

// OnEvaluate writes the line that stays.
func (p *ProgressBar) OnEvaluate(s *State) {
	line := fmt.Sprintf("epoch %d/%d  step %d/%d  loss %.4g%s", s.Epoch, s.Epochs, s.Step, s.Steps, s.TrainLoss, list("", s.TrainMetrics))
	if s.Last.Tested {
		line += fmt.Sprintf("  test loss %.4g%s", s.Last.TestLoss, list("test ", s.Last.Metrics))
	}
	p.write(line, "\n")
}

// OnTrainEnd leaves the line that was shown last.
func (p *ProgressBar) OnTrainEnd(*State) {
	if p.width > 0 {
		fmt.Fprintln(p.Out)
	}
}

func (p *ProgressBar) write(line, end string) {
	width := len([]rune(line))
	fmt.Fprintf(p.Out, "%s%s%s", line, strings.Repeat(" ", max(0, p.width-width)), end)
	p.width = width
	if end == "\n" {
		p.width = 0
	}
}

func list(prefix string, values []Value) string {
	text := ""
	for _, v := range values {
		text += fmt.Sprintf("  %s%s %.4g", prefix, v.Name, v.Value)
	}
	return text
}
