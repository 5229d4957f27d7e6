package train

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
)

// CSVLogger writes a table with a row for every evaluation, and with Every for every
// so many steps too: epoch, step, seconds, lr, loss (of the step), train_loss, the
// metrics on the training examples, test_loss, the metrics on the test set, and what
// callbacks before it have logged. A cell is empty where there is no value. Every row
// is in the file at once. A run that is resumed goes on with the rows up to the step it
// begins at.
type CSVLogger struct {
	NopCallback
	Path  string
	Every int // steps between two rows, besides the evaluations; 0: none

	columns []string
	file    *os.File
}

// OnTrainBegin makes the file, or takes up the rows of a run that is resumed.
func (c *CSVLogger) OnTrainBegin(s *State) {
	c.columns, c.file = nil, nil
	var rows [][]string
	if s.Step > 0 {
		old, err := readCSV(c.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.Fail(fmt.Errorf("train: going on with the log %s: %w", c.Path, err))
			return
		}
		for i, row := range old {
			step, _ := strconv.Atoi(row[1])
			if i == 0 || step <= s.Step {
				rows = append(rows, row)
			}
		}
	}
	if len(rows) > 0 {
		c.columns = rows[0]
	}
	c.rewrite(s, rows)
}

func readCSV(path string) ([][]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll() // rows of one length
	if err == nil && len(rows) > 0 && (len(rows[0]) < 2 || rows[0][0] != "epoch" || rows[0][1] != "step") {
		err = errors.New("the columns are not those of a training log, epoch and step first; remove the file or name another")
	}
	return rows, err
}

// rewrite makes the file anew with the given rows, and leaves it open at its end.
func (c *CSVLogger) rewrite(s *State, rows [][]string) {
	if c.file != nil {
		c.file.Close()
	}
	var text bytes.Buffer
	csv.NewWriter(&text).WriteAll(rows)
	temporary := c.Path + ".partial"
	err := os.WriteFile(temporary, text.Bytes(), 0o666)
	if err == nil {
		err = os.Rename(temporary, c.Path)
	}
	if err == nil {
		c.file, err = os.OpenFile(c.Path, os.O_WRONLY|os.O_APPEND, 0)
	}
	if err != nil {
		c.fail(s, err)
	}
}

// fail gives the log up; no run ends because of it.
func (c *CSVLogger) fail(s *State, err error) {
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
	s.Warn(fmt.Sprintf("the log %s is not written any more: %v", c.Path, err))
}

// OnStep writes a row for every Every-th step.
func (c *CSVLogger) OnStep(s *State) {
	if c.Every > 0 && s.Step%c.Every == 0 {
		c.write(s, nil)
	}
}

// OnEvaluate writes a row.
func (c *CSVLogger) OnEvaluate(s *State) { c.write(s, s.Last) }

func (c *CSVLogger) write(s *State, e *Evaluation) {
	if c.file == nil {
		return
	}
	row := []Value{
		{"epoch", float64(s.Epoch)}, {"step", float64(s.Step)}, {"seconds", s.Elapsed.Seconds()},
		{"lr", s.LR}, {"loss", s.Loss}, {"train_loss", s.TrainLoss},
	}
	for _, v := range s.TrainMetrics {
		row = append(row, Value{"train_" + v.Name, v.Value})
	}
	tested := Evaluation{TestLoss: math.NaN()}
	if e != nil {
		tested = *e
	}
	row = append(row, Value{"test_loss", tested.TestLoss})
	for _, v := range s.TrainMetrics { // the test set has the same metrics
		value := Value{v.Name, math.NaN()}
		if i := slices.IndexFunc(tested.Metrics, func(m Value) bool { return m.Name == v.Name }); i >= 0 {
			value = tested.Metrics[i]
		}
		row = append(row, value)
	}
	row = append(row, s.Logged()...)

	known := len(c.columns)
	for _, v := range row {
		if !slices.Contains(c.columns, v.Name) {
			c.columns = append(c.columns, v.Name)
		}
	}
	if len(c.columns) > known && !c.widen(s) {
		return
	}
	cells := make([]string, len(c.columns))
	for _, v := range row {
		if !math.IsNaN(v.Value) {
			cells[slices.Index(c.columns, v.Name)] = strconv.FormatFloat(v.Value, 'g', 8, 64)
		}
	}
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	w.Write(cells)
	w.Flush()
	if _, err := c.file.Write(text.Bytes()); err != nil {
		c.fail(s, err)
	}
}

// widen gives the rows that are there the columns that have come.
func (c *CSVLogger) widen(s *State) bool {
	rows, err := readCSV(c.Path)
	if err != nil {
		c.fail(s, fmt.Errorf("adding columns: %w", err))
		return false
	}
	if len(rows) == 0 {
		rows = [][]string{nil}
	}
	for i := range rows {
		rows[i] = append(rows[i], make([]string, len(c.columns)-len(rows[i]))...)
	}
	rows[0] = c.columns
	c.rewrite(s, rows)
	return c.file != nil
}

// OnTrainEnd closes the file.
func (c *CSVLogger) OnTrainEnd(s *State) {
	if c.file == nil {
		return
	}
	err := c.file.Close()
	c.file = nil
	if err != nil {
		c.fail(s, err)
	}
}
