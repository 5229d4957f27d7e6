package watch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sinter-dl/sinter/cmd/sinter/internal/history"
)

// serve serves the runs in dir.
func serve(t *testing.T, dir string) *httptest.Server {
	t.Helper()
	s := &Server{Title: dir, Find: func() ([]*history.Run, error) { return history.Find(dir) }}
	server := httptest.NewServer(s.Handler("127.0.0.1"))
	t.Cleanup(server.Close)
	return server
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// ask sends a request and gives status, header and body.
func ask(t *testing.T, server *httptest.Server, method, path string, change func(*http.Request)) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequest(method, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(body)
}

const manifest = `{"format":1,"name":"lenet","status":"complete","started":"2026-01-01T00:00:00Z","recipe":{"epochs":2,"batch":10},"data":[{"role":"train","examples":100}]}`

func TestGuard(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a"), "run.json", manifest)
	put(t, dir, "secret.txt", "secret")
	server := serve(t, dir)
	for _, c := range []struct {
		host   string
		status int
	}{
		{"127.0.0.1:6007", 200}, {"localhost:6007", 200}, {"LOCALHOST", 200}, {"[::1]:6007", 200}, {"192.168.0.7:6007", 200}, {"run.localhost:1", 200},
		{"evil.example:6007", 403}, {"localhost.evil.example", 403}, {"127.0.0.1.evil.example", 403}, {"", 403}, {"evil", 403},
	} {
		for _, path := range []string{"/", "/api/runs", "/app.js"} {
			status, _, body := ask(t, server, "GET", path, func(r *http.Request) {
				if r.Host = c.host; c.host == "" {
					r.Host = "." // what remains of it is empty
				}
			})
			if status != c.status || status == 403 && strings.Contains(body, "lenet") {
				t.Errorf("%s for host %q: %d", path, c.host, status)
			}
		}
	}
	if status, _, _ := ask(t, server, "GET", "/api/runs", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }); status != 403 {
		t.Errorf("a page elsewhere is answered with %d", status)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		for _, path := range []string{"/", "/api/runs", "/api/run?id=a"} {
			if status, _, _ := ask(t, server, method, path, nil); status != 405 {
				t.Errorf("%s %s is answered with %d", method, path, status)
			}
		}
	}
	for _, path := range []string{"/../secret.txt", "/..%2fsecret.txt", "/page/../../secret.txt", "/api/run?id=..", "/api/run?id=../secret.txt", "/api/run?id=a/../a", "/api/samples?id=%2e%2e%2f", "/api/confusion?id=" + dir, "/watch.go"} {
		if status, _, body := ask(t, server, "GET", path, nil); status == 200 || strings.Contains(body, "secret\n") || body == "secret" {
			t.Errorf("%s is answered with %d: %s", path, status, body)
		}
	}
	_, header, body := ask(t, server, "GET", "/", nil)
	policy := header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("headers %v", header)
	}
	if !strings.Contains(body, "app.js") || strings.Contains(body, "://") {
		t.Errorf("the page: %s", body)
	}
	// Nothing in the page's files asks for anything elsewhere, or reads text as HTML.
	for _, name := range []string{"app.js", "plot.js", "parts.js", "style.css", "index.html"} {
		text, err := page.ReadFile("page/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "https:", "@import", "url(http"} {
			if strings.Contains(string(text), word) {
				t.Errorf("%s has %s", name, word)
			}
		}
	}
}

func decode[T any](t *testing.T, server *httptest.Server, path string) (v T) {
	t.Helper()
	status, _, body := ask(t, server, "GET", path, nil)
	if err := json.Unmarshal([]byte(body), &v); err != nil || status != 200 {
		t.Fatalf("%s: %d %v %s", path, status, err, body)
	}
	return v
}

type curves struct {
	Lines map[string]struct{ X, Y, Smooth []*float64 }
}

func TestCurves(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a"), "run.json", manifest)
	var b strings.Builder
	for i := 1; i <= 50_000; i++ {
		loss := fmt.Sprint(1 / float64(i))
		if i == 30_001 {
			loss = "null"
		}
		extra := ""
		if i%1000 == 1 {
			extra = `,"memory":1000`
		}
		fmt.Fprintf(&b, `{"event":"step","epoch":%d,"step":%d,"loss":%s,"seconds":%g%s}`+"\n", (i-1)/10+1, i, loss, float64(i)/4, extra)
	}
	put(t, filepath.Join(dir, "a"), "metrics.jsonl", b.String())
	server := serve(t, dir)
	_, _, body := ask(t, server, "GET", "/api/curves?id=a&points=600&smooth=0.9", nil)
	if len(body) > 60_000 {
		t.Errorf("%d bytes for 600 points", len(body))
	}
	c := decode[curves](t, server, "/api/curves?id=a&points=600&smooth=0.9&axis=epoch&from=1000&to=2000")
	loss := c.Lines["step/loss"]
	if n := len(loss.X); n > 610 || n < 300 || *loss.X[0] > 1000 || *loss.X[n-1] < 2000 || *loss.X[n-1] > 2001 || len(loss.Smooth) != n {
		t.Errorf("%d points", len(loss.X))
	}
	if n := len(c.Lines["step/memory"].X); n < 9 || n > 13 {
		t.Errorf("memory, measured at every thousandth step, has %d points in a fifth of the run", n)
	}
	c = decode[curves](t, server, "/api/curves?id=a&axis=step&from=29990&to=30010&points=500")
	gap := false
	for i, x := range c.Lines["step/loss"].X {
		gap = gap || *x == 30001 && c.Lines["step/loss"].Y[i] == nil
	}
	if !gap || len(c.Lines["step/loss"].X) != 23 {
		t.Errorf("the step without a number is not shown as a gap: %d points", len(c.Lines["step/loss"].X))
	}
	for _, odd := range []string{"&points=1e99", "&points=-1", "&smooth=7", "&smooth=NaN", "&from=NaN", "&from=1e400&to=-1", "&axis=<b>", "&from=9&to=3"} {
		if status, _, body := ask(t, server, "GET", "/api/curves?id=a"+odd, nil); status != 200 || len(body) > 200_000 {
			t.Errorf("%s: %d, %d bytes", odd, status, len(body))
		}
	}
}

func TestDamagedParts(t *testing.T) {
	dir := t.TempDir()
	run := filepath.Join(dir, "a")
	put(t, run, "run.json", manifest)
	put(t, filepath.Join(dir, "b"), "run.json", "{")
	server := serve(t, dir)
	for path, want := range map[string]string{"/api/confusion?id=a": "null", "/api/samples?id=a": "null", "/api/curves?id=b": `{"lines":{},"stepsPerEpoch":0}`} {
		if status, _, body := ask(t, server, "GET", path, nil); status != 200 || body != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	type list struct {
		Runs []struct {
			ID, Status, Error string
			Version           int
		}
	}
	if l := decode[list](t, server, "/api/runs"); len(l.Runs) != 2 || l.Runs[1].Status != "damaged" || !strings.Contains(l.Runs[1].Error, "damaged") {
		t.Errorf("runs %+v", l)
	}
	for _, c := range []struct {
		name, content, path string
		status              int
		want                string
	}{
		{"confusion.json", `{"classes":["a","b"],"counts":[[1,2]]}`, "/api/confusion?id=a", 500, "damaged"},
		{"confusion.json", `{"classes":["a"],"counts":[["x"]]}`, "/api/confusion?id=a", 500, "damaged"},
		{"confusion.json", `{"classes":["` + strings.Repeat(`a","`, 2000) + `b"]}`, "/api/confusion?id=a", 500, "not shown"},
		{"samples.jsonl", "{\n[]\nnull\n" + `{"event":"text","step":1,"text":"x"}` + "\n" + `{"event":"text","step":2,"text":"cut`, "/api/samples?id=a", 200, `"steps":[1]`},
		{"layers.json", `{"layers":[1]}`, "/api/run?id=a", 200, "layers.json is damaged"},
	} {
		put(t, run, c.name, c.content)
		if status, _, body := ask(t, server, "GET", c.path, nil); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s as %.40s: %d %s", c.name, c.content, status, body)
		}
	}
	s := &Server{Find: func() ([]*history.Run, error) { return nil, errors.New("gone") }}
	failing := httptest.NewServer(s.Handler(""))
	defer failing.Close()
	if status, _, body := ask(t, failing, "GET", "/api/runs", nil); status != 500 || !strings.Contains(body, "gone") {
		t.Errorf("without a folder: %d %s", status, body)
	}
	if b, err := json.Marshal(history.Floats{1, 1.5, math.NaN(), math.Inf(1), 1e20}); err != nil || string(b) != "[1,1.5,null,null,1e+20]" {
		t.Errorf("numbers %s %v", b, err)
	}
}
