package main

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/curve"
	"github.com/sinter-dl/sinter/cmd/sinter/internal/history"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/rundir"
)

// picture keeps curve.png and curve.svg in the run folder: at the end, and while the run
// trains after an evaluation now and then, so that one who looks into the folder, or
// comes after it was killed, finds them. What it draws it reads from metrics.jsonl,
// which knows a run from its beginning even where this process has only resumed it.
type picture struct {
	train.NopCallback
	title  string
	folder *rundir.Writer
	log    *history.Log
	drawn  time.Time
	busy   sync.WaitGroup
}

// redraw is the time between two pictures; to draw both takes a twentieth of a second.
const redraw = 30 * time.Second

func (p *picture) begin(folder *rundir.Writer) {
	p.folder, p.log = folder, history.NewLog(folder.File(rundir.MetricsFile))
	p.drawn = time.Now()
}

func (p *picture) OnEvaluate(*train.State) {
	if time.Since(p.drawn) < redraw {
		return
	}
	p.drawn = time.Now()
	p.busy.Wait()
	p.busy.Go(func() { p.draw() }) // that it fails is said at the end
}

// finish draws for the last time.
func (p *picture) finish() error {
	p.busy.Wait()
	return p.draw()
}

func (p *picture) draw() error {
	err := p.folder.Flush()
	if _, readErr := p.log.Follow(); err == nil {
		err = readErr
	}
	run := curvesOf(p.title, p.log)
	for _, name := range []string{rundir.CurveFile, rundir.CurveSVGFile} {
		temp := p.folder.File(".drawn" + filepath.Ext(name))
		drawErr := curve.Write(temp, run)
		if drawErr == nil {
			drawErr = os.Rename(temp, p.folder.File(name))
		}
		if drawErr != nil {
			os.Remove(temp)
		}
		err = errors.Join(err, drawErr)
	}
	return err
}

// curvesOf is what is drawn of a log.
func curvesOf(title string, log *history.Log) curve.Run {
	points := func(t *history.Table, column string) []curve.Point {
		var out []curve.Point
		for i, v := range t.Columns[column] {
			if !math.IsNaN(v) {
				out = append(out, curve.Point{Step: t.Step[i], Value: v})
			}
		}
		return out
	}
	e := &log.Evaluations
	run := curve.Run{Title: title, Loss: points(&log.Steps, "loss"), TestLoss: points(e, "test/loss")}
	// The metric that comes first in the order of metricNames.
	names := map[string]bool{}
	for _, column := range e.Names() {
		if _, metric, ok := strings.Cut(column, "/"); ok && metric != "loss" {
			names[metric] = true
		}
	}
	if ordered := metricNames(names); len(ordered) > 0 {
		run.Metric = ordered[0]
		run.TrainMetric, run.TestMetric = points(e, "train/"+run.Metric), points(e, "test/"+run.Metric)
	}
	return run
}
