package powerfile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// decode reads a mapping's keys into strings, numbers and nodes, and gives the line of each
// key that is there. A key that is not known is an error that names those that are.
func decode(path string, text []byte, into map[string]any) (lines map[string]int, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, mistake(path, 0, "it is no YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return nil, mistake(path, 0, "it is empty; its keys are %s", known(into))
	}
	return decodeNode(path, doc.Content[0], into)
}

func decodeNode(path string, n *yaml.Node, into map[string]any) (lines map[string]int, err error) {
	if n.Kind != yaml.MappingNode {
		return nil, mistake(path, n.Line, "there is to be a mapping with the keys %s", known(into))
	}
	lines = make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		to, ok := into[key.Value]
		if !ok {
			return nil, mistake(path, key.Line, "unknown key %q; known: %s", key.Value, known(into))
		}
		if lines[key.Value] > 0 {
			return nil, mistake(path, key.Line, "%q is there twice, first in line %d", key.Value, lines[key.Value])
		}
		lines[key.Value] = key.Line
		if err := decodeValue(value, to); err != nil {
			return nil, mistake(path, value.Line, "%s: %w", key.Value, err)
		}
	}
	return lines, nil
}

func decodeValue(n *yaml.Node, to any) error {
	switch to := to.(type) {
	case *yaml.Node:
		*to = *n
		return nil
	case *string:
		if n.Kind != yaml.ScalarNode {
			return errors.New("one value is wanted here")
		}
		*to = n.Value
		return nil
	}
	if err := n.Decode(to); err != nil {
		return fmt.Errorf("%q is no %s", n.Value, map[bool]string{true: "yes or no: write true or false", false: "number"}[isBool(to)])
	}
	return nil
}

func isBool(to any) bool { _, ok := to.(*bool); return ok }

func known(into map[string]any) string {
	return strings.Join(slices.Sorted(maps.Keys(into)), ", ")
}

// hasKey tells whether a file is a mapping with a key; it may be broken otherwise.
func hasKey(text []byte, key string) bool {
	var doc yaml.Node
	if yaml.Unmarshal(text, &doc) != nil || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return false
	}
	keys := doc.Content[0].Content
	for i := 0; i < len(keys); i += 2 {
		if keys[i].Value == key {
			return true
		}
	}
	return false
}
