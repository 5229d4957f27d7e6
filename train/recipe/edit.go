package recipe

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Edit sets a key at the top of a recipe's text, and leaves everything else as it is,
// comments and order included. A key that is not there is added at the end. The result is
// a recipe that has the value; what cannot be edited so is an error.
func Edit(name string, text []byte, key, value string) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: not YAML: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode || doc.Content[0].Style&yaml.FlowStyle != 0 {
		return nil, fmt.Errorf("%s is not written as one key on a line, so that %s: %s has to be put into it by hand", name, key, value)
	}
	top := doc.Content[0]
	edited := bytes.Clone(text)
	at := -1
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value == key {
			at = i + 1
		}
	}
	if at < 0 {
		if n := len(edited); n > 0 && edited[n-1] != '\n' {
			edited = append(edited, '\n')
		}
		edited = fmt.Appendf(edited, "%s%s: %s\n", strings.Repeat(" ", top.Column-1), key, value)
	} else {
		old := top.Content[at]
		lines := bytes.SplitAfter(edited, []byte("\n"))
		line := lines[old.Line-1]
		runes := []rune(string(line)) // columns are counted in characters
		end := old.Column - 1 + len([]rune(old.Value))
		if old.Kind != yaml.ScalarNode || old.Style != 0 || end > len(runes) || string(runes[old.Column-1:end]) != old.Value {
			return nil, fmt.Errorf("%s:%d: %s is not written as a plain value; put %s: %s into it by hand", name, old.Line, key, key, value)
		}
		lines[old.Line-1] = []byte(string(runes[:old.Column-1]) + value + string(runes[end:]))
		edited = bytes.Join(lines, nil)
	}
	// What was said before has to be said still, and the value besides.
	var was, is map[string]any
	if err := yaml.Unmarshal(text, &was); err != nil {
		return nil, err
	}
	var want any
	if err := yaml.Unmarshal([]byte(value), &want); err != nil {
		return nil, err
	}
	was[key] = want
	if err := yaml.Unmarshal(edited, &is); err != nil || fmt.Sprint(was) != fmt.Sprint(is) {
		return nil, fmt.Errorf("%s cannot be edited safely; put %s: %s into it by hand", name, key, value)
	}
	_, err := Parse(name, edited)
	return edited, err
}
