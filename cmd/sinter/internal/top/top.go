// Package top is the screen of 'sinter top'.
//
// A [view] makes text of a snapshot of package monitor: for a window of any size, with
// styles or without. What does not fit is left out by rank, the least important first, and
// is in the details of the device or run that is selected. The program around it, of
// bubbletea, reads a snapshot at each interval, apart from the screen, so that a driver that
// is slow to answer makes no key wait. Without a terminal the same text is written once, with
// the details of all.
package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/monitor"
	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
)

// Options is what to show, and where.
type Options struct {
	Reader   *monitor.Reader
	Out      io.Writer
	In       io.Reader     // for keys; nil is standard input
	Interval time.Duration // between two readings
	JSON     bool          // a line for each reading
	Once     bool          // one reading, then it ends
}

// first is the time between the first two readings, of which the first is not shown: what
// is a rate takes two.
const first = 250 * time.Millisecond

// Run shows the machine until the user has seen enough or the context ends, which is no error.
func Run(ctx context.Context, o Options) error {
	file, terminal := o.Out.(*os.File)
	terminal = terminal && ui.Terminal(file)
	if !terminal && !o.JSON {
		o.Once = true
	}
	if terminal && !o.JSON && !o.Once {
		return screen(ctx, o)
	}
	o.Reader.Read()
	wait := min(first, o.Interval)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		s := o.Reader.Read()
		if o.JSON {
			line, err := json.Marshal(s)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(o.Out, "%s\n", line); err != nil {
				return err
			}
		} else {
			v := &view{snapshot: s, absent: o.Reader.Problems(), width: 80, interval: o.Interval}
			if terminal {
				v.width = ui.Width(file)
			}
			if _, err := io.WriteString(o.Out, v.whole()); err != nil {
				return err
			}
		}
		if o.Once {
			return nil
		}
		wait = o.Interval
	}
}

// screen runs the program on a terminal.
func screen(ctx context.Context, o Options) error {
	options := []tea.ProgramOption{tea.WithContext(ctx), tea.WithOutput(o.Out), tea.WithoutSignalHandler()}
	if o.In != nil {
		options = append(options, tea.WithInput(o.In))
	}
	m := &model{reader: o.Reader, view: view{styled: true, plain: os.Getenv("NO_COLOR") != "", interval: o.Interval, absent: o.Reader.Problems(), details: true}}
	m.view.snapshot = o.Reader.Read()
	_, err := tea.NewProgram(m, options...).Run()
	if ctx.Err() != nil && (errors.Is(err, tea.ErrProgramKilled) || errors.Is(err, ctx.Err())) {
		return nil
	}
	return err
}

// model is bubbletea's.
type model struct {
	reader  *monitor.Reader
	view    view
	reading bool // a reading is under way
	beat    int  // of the interval now; ticks of others are late
}

type (
	tick struct{ beat int }
	read monitor.Snapshot
)

// Init asks for the first reading soon: what is a rate takes two.
func (m *model) Init() tea.Cmd { return m.after(min(first, m.view.interval)) }

func (m *model) after(d time.Duration) tea.Cmd {
	beat := m.beat
	return tea.Tick(d, func(time.Time) tea.Msg { return tick{beat} })
}

// Update is told what happens.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	v := &m.view
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		v.width, v.height = msg.Width, msg.Height
	case tick:
		if msg.beat != m.beat {
			return m, nil
		}
		next := m.after(v.interval)
		if m.reading || v.paused {
			return m, next
		}
		m.reading = true
		return m, tea.Batch(next, func() tea.Msg { return read(m.reader.Read()) })
	case read:
		m.reading = false
		if !v.paused {
			v.snapshot = monitor.Snapshot(msg)
		}
	case tea.KeyPressMsg:
		return m, m.key(msg.String())
	}
	return m, nil
}

// Intervals are between these.
const (
	shortest = 100 * time.Millisecond
	longest  = time.Minute
)

// key does what a key is for.
func (m *model) key(k string) tea.Cmd {
	v := &m.view
	switch k {
	case "q", "ctrl+c", "esc":
		if v.help && k != "ctrl+c" {
			v.help = false
			return nil
		}
		return tea.Quit
	case "ctrl+z":
		return tea.Suspend
	case "?", "h", "f1":
		v.help = !v.help
	case "up", "k":
		v.move(-1)
	case "down", "j":
		v.move(1)
	case "pgup":
		v.move(-10)
	case "pgdown":
		v.move(10)
	case "home", "g":
		v.move(-1 << 20)
	case "end", "G":
		v.move(1 << 20)
	case "tab", "shift+tab", "left", "right":
		v.pane = 1 - v.pane
	case "s":
		v.order[v.pane] = (v.order[v.pane] + 1) % len(orders[v.pane])
	case "r":
		v.upside[v.pane] = !v.upside[v.pane]
	case "d", "enter":
		v.details = !v.details
	case "p", "space":
		v.paused = !v.paused
	case "+", "=":
		return m.pace(v.interval / 2)
	case "-":
		return m.pace(v.interval * 2)
	}
	return nil
}

// pace changes the interval.
func (m *model) pace(d time.Duration) tea.Cmd {
	m.view.interval = min(max(d, shortest), longest)
	m.beat++
	return m.after(m.view.interval)
}

// move selects another item, of the other pane too if this one has no more.
func (v *view) move(by int) {
	p := v.current()
	if len(p.keys) == 0 {
		v.pane = devices
		return
	}
	to := p.at + by
	switch {
	case by == 1 && to >= len(p.keys) && v.pane == devices && len(v.snapshot.Runs) > 0:
		v.pane = runs
		v.first()
		return
	case by == -1 && to < 0 && v.pane == runs:
		v.pane = devices
		p = v.current()
		to = len(p.keys) - 1
	}
	v.chosen[v.pane] = p.keys[min(max(to, 0), len(p.keys)-1)]
}

// first selects the first item of the pane.
func (v *view) first() {
	if p := v.current(); len(p.keys) > 0 {
		v.chosen[v.pane] = p.keys[0]
	}
}

// current is the pane that keys are for.
func (v *view) current() pane { return v.table(v.pane, true) }

// View is what is on the screen.
func (m *model) View() tea.View {
	s := tea.NewView(m.view.frame())
	s.AltScreen = true
	s.WindowTitle = "sinter top"
	return s
}
