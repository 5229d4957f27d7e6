package profile

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// event is a span of time on a track.
type event struct {
	name, kind string
	track      int
	begin, end time.Time
	args       map[string]any
}

// The tracks of a trace; worker w has track trackWorker + w.
const (
	trackLoader = 1 + iota
	trackStep
	trackRun
	trackEvaluation
	trackWorker
)

var trackNames = map[int]string{trackLoader: "loader", trackStep: "step (host)", trackRun: "run", trackEvaluation: "evaluation"}

// number is v, or nil if JSON has no word for it.
func number(v float64) any {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return v
}

// WriteTrace writes the active steps in the Trace Event Format, as an object with
// complete events ("ph": "X", times in microseconds) and names of the tracks: what
// chrome://tracing and ui.perfetto.dev open. There is a track for the loader (waiting for
// batches), for the host's part of steps, for programs, evaluations, and for the kernels
// on each thread.
func (p *Profiler) WriteTrace(w io.Writer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	type record struct {
		Name  string         `json:"name"`
		Kind  string         `json:"cat,omitempty"`
		Phase string         `json:"ph"`
		Begin float64        `json:"ts"`
		Time  float64        `json:"dur"`
		PID   int            `json:"pid"`
		TID   int            `json:"tid"`
		Args  map[string]any `json:"args,omitempty"`
	}
	b := bufio.NewWriter(w)
	fmt.Fprint(b, "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n")
	first := true
	var failed error
	put := func(r record) {
		text, err := json.Marshal(r)
		if err != nil && failed == nil {
			failed = err
		}
		if !first {
			fmt.Fprint(b, ",\n")
		}
		first = false
		b.Write(text)
	}
	put(record{Name: "process_name", Phase: "M", PID: 1, Args: map[string]any{"name": "sinter"}})
	tracks := make(map[int]bool)
	events := slices.Clone(p.events)
	slices.SortStableFunc(events, func(a, b event) int { return a.begin.Compare(b.begin) })
	for _, e := range events {
		if !tracks[e.track] {
			tracks[e.track] = true
			name := trackNames[e.track]
			if e.track >= trackWorker {
				name = fmt.Sprintf("kernels, thread %d", e.track-trackWorker)
			}
			put(record{Name: "thread_name", Phase: "M", PID: 1, TID: e.track, Args: map[string]any{"name": name}})
			put(record{Name: "thread_sort_index", Phase: "M", PID: 1, TID: e.track, Args: map[string]any{"sort_index": e.track}})
		}
		us := func(t time.Time) float64 { return max(0, float64(t.Sub(p.begin).Nanoseconds())/1000) }
		put(record{Name: e.name, Kind: e.kind, Phase: "X", Begin: us(e.begin), Time: max(0, us(e.end)-us(e.begin)), PID: 1, TID: e.track, Args: e.args})
	}
	fmt.Fprint(b, "\n]}\n")
	if failed != nil {
		return failed
	}
	return b.Flush()
}
