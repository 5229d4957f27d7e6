package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/curve"
	"github.com/sinter-dl/sinter/cmd/sinter/internal/ui"
	"github.com/sinter-dl/sinter/train"
	"github.com/sinter-dl/sinter/train/recipe"
	"github.com/sinter-dl/sinter/train/tune"
)

var searchMethods = []string{string(tune.Grid), string(tune.Random), string(tune.ASHA)}

func tuneSearchCommand() *cobra.Command {
	var t tuning
	var params []string
	var method, mode, out, resume string
	s := tune.Search{}
	c := &cobra.Command{
		Use:   "search RECIPE | FILE.yaml --param KEY=VALUES … | --resume DIR",
		Short: "Search for the best settings: by grid, at random, or by successive halving",
		Long: `Train a recipe many times with other settings, and rank the results. A parameter
is a key of the recipe with the values to try:

  batch=16,32,64                  one of a list
  model.dropout=0..0.5            a range of numbers
  model.layers=2..6               a range of whole numbers
  optimizer.lr=log:1e-4..1e-1     a range on which factors count

grid tries all combinations (five values of a range), random draws --trials of
them, asha draws too, but goes on only with the best third after a ninth and after
a third of the steps.

The folder, searches/<recipe>-<time> or --out, has a run folder for each trial,
trials.jsonl, and pictures of the results. A search that was stopped goes on with
--resume.`,
		Example: `  sinter tune search lenet --param optimizer.lr=log:1e-4..1e-1 --param batch=32,64,128
  sinter tune search mlp --param model.hidden=64,128,256 --method grid --metric accuracy`,
		Args: func(c *cobra.Command, args []string) error {
			if resume != "" {
				return exactly()(c, args)
			}
			return exactly("RECIPE")(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			var folder *recipe.SearchFolder
			var err error
			if resume != "" {
				if err = useDefault(); err == nil {
					folder, err = recipe.OpenSearch(resume)
				}
			} else {
				s.Method, s.Mode = tune.Method(method), train.Mode(mode)
				folder, err = t.newSearch(c, args[0], out, params, s)
			}
			if err != nil {
				return err
			}
			return t.search(c, folder)
		},
	}
	t.from.add(c)
	c.Flags().StringArrayVar(&params, "param", nil, "a setting to vary, `KEY=VALUES`; may be repeated")
	c.Flags().StringVar(&method, "method", string(tune.Random), "`grid, random or asha`")
	c.Flags().IntVar(&s.Trials, "trials", 20, "`N` trials of random and asha")
	c.Flags().Uint64Var(&s.Seed, "search-seed", 1, "`N`, of the settings that are drawn")
	c.Flags().StringVar(&s.Metric, "metric", "test_loss", "what is to be best, `NAME`: test_loss, or a metric such as accuracy")
	c.Flags().StringVar(&mode, "mode", "", "`min or max`; unless said, by the metric's name")
	c.Flags().StringVar(&out, "out", "", "folder `DIR` of the search, instead of searches/<recipe>-<time>")
	c.Flags().StringVar(&resume, "resume", "", "go on with the search in the folder `DIR`")
	c.Flags().BoolVar(&t.json, "json", false, "trials as JSON lines on standard error, the ranking as one JSON object on standard output")
	c.Flags().SortFlags = false
	return c
}

func (t *tuning) newSearch(c *cobra.Command, name, out string, params []string, s tune.Search) (*recipe.SearchFolder, error) {
	if !slices.Contains(searchMethods, string(s.Method)) {
		return nil, &recipe.UsageError{Place: "--method", Reason: fmt.Sprintf("unknown method %q%s", s.Method, recipe.Suggest(string(s.Method), searchMethods))}
	}
	if s.Mode != train.Auto && s.Mode != train.Min && s.Mode != train.Max {
		return nil, &recipe.UsageError{Place: "--mode", Reason: fmt.Sprintf("found %q, expected min or max", s.Mode)}
	}
	if s.Trials < 1 {
		return nil, &recipe.UsageError{Place: "--trials", Reason: "expected at least 1"}
	}
	if len(params) == 0 {
		return nil, &recipe.UsageError{Reason: "nothing to search: give --param KEY=VALUES, such as --param optimizer.lr=log:1e-4..1e-1"}
	}
	for _, text := range params {
		p, err := tune.ParseParam(text)
		if err != nil {
			return nil, &recipe.UsageError{Place: "--param", Reason: err.Error()}
		}
		s.Space = append(s.Space, p)
	}
	r, err := t.from.load(c, name)
	if err != nil {
		return nil, err
	}
	if out == "" {
		out = filepath.Join("searches", r.Name+"-"+time.Now().Format("20060102-150405"))
	}
	return recipe.NewSearch(out, r, s)
}

// search makes the search, and shows what came out.
func (t *tuning) search(c *cobra.Command, folder *recipe.SearchFolder) error {
	total := folder.Search.Count()
	live := newProgress(os.Stderr, t.json)
	if !t.json {
		done := ""
		if n := len(folder.Search.Done); n > 0 {
			done = ", " + plural(n, "measurement") + " done before"
		}
		fmt.Fprintf(os.Stderr, "%s search of %s by %s in %s%s\n", folder.Search.Method, plural(total, "trial"), folder.Search.Metric, folder.Dir, done)
	}
	ranked, err := folder.Run(c.Context(), []train.Callback{&trialLine{live: live}}, func(m tune.Measurement) {
		live.clear()
		if t.json {
			live.event(map[string]any{"event": "trial", "trial": m.Number, "settings": m.Settings, "share": m.Share, "value": recipe.Number(m.Value), "failed": m.Failed})
			return
		}
		value := ui.Number(m.Value)
		if m.Failed != "" {
			value = "failed: " + m.Failed
		}
		part := ""
		if m.Share < 1 {
			part = fmt.Sprintf(" after %.0f %% of its steps", 100*m.Share)
		}
		fmt.Fprintf(os.Stderr, "trial %d/%d   %s   %s %s%s\n", m.Number+1, total, settings(m.Settings), folder.Search.Metric, value, part)
	})
	live.clear()
	if len(ranked) > 0 {
		if drawErr := drawSearch(folder, ranked); err == nil {
			err = drawErr
		}
	}
	if err != nil {
		if c.Context().Err() != nil && errors.Is(err, context.Canceled) {
			return &interruption{fmt.Sprintf("interrupted; sinter tune search --resume %s goes on", folder.Dir)}
		}
		return err
	}
	return t.printSearch(c.OutOrStdout(), folder, ranked)
}

// trialLine shows how far a trial is.
type trialLine struct {
	train.NopCallback
	live  *progress
	shown time.Time
}

func (l *trialLine) OnStep(s *train.State) {
	if now := time.Now(); now.Sub(l.shown) >= barInterval {
		l.shown = now
		l.live.show(l.live.bar(s))
	}
}

func settings(list []tune.Setting) string {
	var parts []string
	for _, s := range list {
		parts = append(parts, s.Key+"="+s.Value)
	}
	return strings.Join(parts, " ")
}

func (t *tuning) printSearch(w io.Writer, folder *recipe.SearchFolder, ranked []tune.Measurement) error {
	if t.json {
		type row struct {
			Trial    int            `json:"trial"`
			Settings []tune.Setting `json:"settings"`
			Share    float64        `json:"share"`
			Value    recipe.Number  `json:"value"`
			Failed   string         `json:"failed,omitempty"`
			Run      string         `json:"run"`
		}
		rows := make([]row, len(ranked))
		for i, m := range ranked {
			rows[i] = row{m.Number, m.Settings, m.Share, recipe.Number(m.Value), m.Failed, folder.TrialDir(m.Number)}
		}
		line, err := json.Marshal(map[string]any{"dir": folder.Dir, "metric": folder.Search.Metric, "trials": rows})
		if err == nil {
			fmt.Fprintln(w, string(line))
		}
		return err
	}
	header := []string{"rank", folder.Search.Metric}
	for _, p := range folder.Search.Space {
		header = append(header, p.Key)
	}
	rows := [][]string{append(header, "steps", "trial")}
	const most = 20
	for i, m := range ranked[:min(most, len(ranked))] {
		value := ui.Number(m.Value)
		if m.Failed != "" {
			value = "failed"
		}
		row := []string{strconv.Itoa(i + 1), value}
		for _, s := range m.Settings {
			row = append(row, s.Value)
		}
		rows = append(rows, append(row, fmt.Sprintf("%.0f %%", 100*m.Share), filepath.Base(folder.TrialDir(m.Number))))
	}
	fmt.Fprintln(w)
	ui.Table(w, rows)
	if n := len(ranked) - most; n > 0 {
		fmt.Fprintf(w, "… and %d more in %s\n", n, folder.Dir)
	}
	best := ranked[0]
	flags := ""
	for _, s := range best.Settings {
		flags += " --set " + s.Key + "=" + s.Value
	}
	fmt.Fprintln(w)
	ui.Table(w, [][]string{{"best", strings.TrimSpace(flags)}, {"search", folder.Dir}, {"pictures", filepath.Join(folder.Dir, searchPicture+".png") + ", .svg"}})
	return nil
}

// searchPicture is drawn as .png and .svg: for each parameter the results over its
// values.
const searchPicture = "search"

func drawSearch(folder *recipe.SearchFolder, ranked []tune.Measurement) error {
	var charts []curve.Chart
	for i, p := range folder.Search.Space {
		chart := curve.Chart{X: p.Key, Y: folder.Search.Metric, LogX: p.Log}
		if i == 0 {
			chart.Title = fmt.Sprintf("%d trials, the best orange", len(ranked))
			if ranked[len(ranked)-1].Share < ranked[0].Share {
				chart.Title += ", those that were stopped before their end pale"
			}
		}
		names := map[string]int{} // of values that are no numbers: their places
		for _, v := range p.Values {
			if _, err := strconv.ParseFloat(v, 64); err != nil {
				for j, v := range p.Values {
					names[v] = j
				}
				chart.Names = p.Values
				break
			}
		}
		for _, m := range ranked {
			if math.IsNaN(m.Value) {
				continue
			}
			x, _ := strconv.ParseFloat(m.Settings[i].Value, 64)
			if chart.Names != nil {
				x = float64(names[m.Settings[i].Value])
			}
			point := curve.Point{Step: x, Value: m.Value}
			switch {
			case chart.Mark == nil:
				chart.Mark = &point
			case m.Share < ranked[0].Share:
				chart.Faint = append(chart.Faint, point)
			default:
				chart.Dots = append(chart.Dots, point)
			}
		}
		chart.FaintDots = true
		if chart.Mark != nil {
			charts = append(charts, chart)
		}
	}
	if len(charts) == 0 {
		return nil // all failed
	}
	for _, ext := range []string{".png", ".svg"} {
		if err := curve.WriteCharts(filepath.Join(folder.Dir, searchPicture+ext), charts); err != nil {
			return fmt.Errorf("drawing the search: %w", err)
		}
	}
	return nil
}
