package recipe

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Parse reads a recipe. source names the text in messages.
func Parse(source string, text []byte) (*Recipe, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, usage(source, "not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return nil, usage(source, "the recipe is empty; 'sinter recipe show lenet' prints one to start from")
	}
	r := &Recipe{given: map[string]string{"": source}}
	d := decoder{recipe: r, source: source}
	if err := d.value(doc.Content[0], reflect.ValueOf(r).Elem(), "", nil); err != nil {
		return nil, err
	}
	return r, nil
}

// Set overrides one key, given as its path ("optimizer.lr"), by a value in YAML.
// place names the override in messages: the flag that asked for it.
func (r *Recipe) Set(place, key, value string) error {
	v := reflect.ValueOf(r).Elem()
	var tags reflect.StructTag
	for rest := key; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, ".")
		var field *reflect.StructField
		if v.Kind() == reflect.Struct {
			field = fieldByKey(v.Type(), part)
		}
		if field == nil {
			return usage(place, "unknown key %q%s", key, Suggest(key, paths(reflect.TypeOf(*r), "")))
		}
		v, tags = v.FieldByIndex(field.Index), field.Tag
	}
	if v.Kind() == reflect.Struct {
		return usage(place, "%q is a group of keys; known: %s", key, list(paths(v.Type(), key+".")))
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(value), &doc); err != nil || len(doc.Content) == 0 {
		if v.Kind() != reflect.String {
			return usage(place, "%q is no value for %s", value, key)
		}
		doc.Content = []*yaml.Node{{Kind: yaml.ScalarNode, Value: value}}
	}
	if v.Kind() == reflect.String { // a path like "a: b.csv" is a string, whatever YAML makes of it
		doc.Content[0] = &yaml.Node{Kind: yaml.ScalarNode, Value: value}
	}
	d := decoder{recipe: r, place: place}
	return d.value(doc.Content[0], v, key, &tags)
}

// decoder fills the recipe from nodes of YAML.
type decoder struct {
	recipe *Recipe
	source string // with it, messages give line and column
	place  string // else this
}

func (d *decoder) at(n *yaml.Node) string {
	if d.source == "" {
		return d.place
	}
	return fmt.Sprintf("%s:%d:%d", d.source, n.Line, n.Column)
}

// value decodes one node; tags are the checks of the field it goes to.
func (d *decoder) value(n *yaml.Node, v reflect.Value, key string, tags *reflect.StructTag) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.recipe.given[key] = cmpPlace(key, d.recipe.given[key], d.at(n))
	wrong := func(expected string) error {
		return usage(d.at(n), "%s is %s, expected %s", key, describe(n), expected)
	}
	if v.Type() == reflect.TypeFor[Augment]() {
		return d.augment(n, v, key)
	}
	switch v.Kind() {
	case reflect.Struct:
		if n.Kind != yaml.MappingNode {
			if key == "" {
				return usage(d.at(n), "expected keys and values, found %s", describe(n))
			}
			return wrong("a group of keys")
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			name, child := n.Content[i], n.Content[i+1]
			field := fieldByKey(v.Type(), name.Value)
			full := strings.TrimPrefix(key+"."+name.Value, ".")
			if field == nil {
				full = brief(full)
				return usage(d.at(name), "unknown key %q%s", full, Suggest(full, paths(v.Type(), prefix(key))))
			}
			if err := d.value(child, v.FieldByIndex(field.Index), full, &field.Tag); err != nil {
				return err
			}
		}
		return nil
	case reflect.Slice:
		items := n.Content
		if n.Kind == yaml.ScalarNode { // hidden: 128 is hidden: [128]
			items = []*yaml.Node{n}
		} else if n.Kind != yaml.SequenceNode {
			return wrong("a list")
		}
		if want := tags.Get("len"); want != "" && strconv.Itoa(len(items)) != want {
			return wrong("a list of " + want)
		}
		s := reflect.MakeSlice(v.Type(), len(items), len(items))
		for i, item := range items {
			if err := d.value(item, s.Index(i), key, tags); err != nil {
				return err
			}
		}
		v.Set(s)
		return nil
	}

	if n.Kind != yaml.ScalarNode {
		return wrong("a single value")
	}
	var number float64
	switch v.Kind() {
	case reflect.String:
		if known := strings.Fields(tags.Get("oneof")); len(known) > 0 && !slices.Contains(known, n.Value) {
			return usage(d.at(n), "unknown %s %q%s", key, n.Value, Suggest(n.Value, known))
		}
		v.SetString(n.Value)
		return nil
	case reflect.Bool:
		b, err := strconv.ParseBool(n.Value)
		if err != nil {
			return wrong("true or false")
		}
		v.SetBool(b)
		return nil
	case reflect.Int:
		text := n.Value
		if b, err := strconv.ParseBool(text); err == nil && tags.Get("truth") != "" && strings.Trim(text, "01") != "" {
			if text = "0"; b {
				text = tags.Get("truth")
			}
		}
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			if tags.Get("truth") != "" {
				return wrong("true, false or a whole number")
			}
			return wrong("a whole number")
		}
		v.SetInt(i)
		number = float64(i)
	case reflect.Uint64:
		u, err := strconv.ParseUint(n.Value, 10, 64)
		if err != nil {
			return wrong("a whole number that is not negative")
		}
		v.SetUint(u)
		number = float64(u)
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return wrong("a number")
		}
		v.SetFloat(f)
		number = f
	default:
		panic("recipe: no decoding for " + v.Type().String())
	}
	for _, check := range []struct {
		tag, words string
		ok         func(limit float64) bool
	}{
		{"min", "at least", func(l float64) bool { return number >= l }},
		{"max", "at most", func(l float64) bool { return number <= l }},
		{"above", "above", func(l float64) bool { return number > l }},
		{"below", "below", func(l float64) bool { return number < l }},
	} {
		text := tags.Get(check.tag)
		if text == "" {
			continue
		}
		limit, err := strconv.ParseFloat(text, 64)
		if err != nil {
			panic("recipe: tag of " + key + ": " + err.Error())
		}
		if !check.ok(limit) {
			return wrong(check.words + " " + text)
		}
	}
	return nil
}

// cmpPlace keeps the recipe's own name for the root.
func cmpPlace(key, old, now string) string {
	if key == "" {
		return old
	}
	return now
}

// describe is how a message quotes a node.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a group of keys"
	case yaml.SequenceNode:
		return "a list"
	}
	return strconv.Quote(brief(n.Value))
}

// brief is a text of someone else's as messages repeat it.
func brief(s string) string {
	const most = 80
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// applicable refuses keys that were given but mean nothing to this kind of model
// or optimizer.
func (r *Recipe) applicable(group string, of any, kind string) error {
	t := reflect.TypeOf(of).Elem()
	for i := range t.NumField() {
		f := t.Field(i)
		owners := strings.Fields(f.Tag.Get("for"))
		key := group + "." + keyOf(f)
		place, given := r.given[key]
		if given && len(owners) > 0 && !slices.Contains(owners, kind) {
			return usage(place, "%s means nothing to %s.kind %s; it belongs to %s", key, group, kind, list(owners))
		}
	}
	return nil
}

func keyOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func fieldByKey(t reflect.Type, key string) *reflect.StructField {
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && keyOf(f) == key {
			return &f
		}
	}
	return nil
}

func prefix(key string) string {
	if key == "" {
		return ""
	}
	return key + "."
}

// paths lists the keys of a recipe, or of a group with its prefix.
func paths(t reflect.Type, prefix string) []string {
	var all []string
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		if f.Type.Kind() == reflect.Struct {
			all = append(all, paths(f.Type, prefix+keyOf(f)+".")...)
		} else {
			all = append(all, prefix+keyOf(f))
		}
	}
	return all
}
