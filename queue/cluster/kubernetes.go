package cluster

import (
	"bytes"
	"fmt"
	"math"
	"path"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Kubernetes is what a manifest says besides the job.
type Kubernetes struct {
	Namespace     string // empty: that of whoever submits it
	Image         string // of the container, see Containerfile
	Queue         string // Kueue's LocalQueue; empty: without Kueue
	PriorityClass string // Kueue's WorkloadPriorityClass, or without Kueue the pod's PriorityClass
	Claim         string // PersistentVolumeClaim that has data and runs
	Mount         string // where it is mounted, which is also where the run works: "/work"
	GPUResource   string // what a GPU is called: "nvidia.com/gpu", "amd.com/gpu"
	Recipe        []byte // text of a recipe that Train names as RecipePath; nil: Train names a built-in one
}

// RecipePath is where a pod finds the recipe of Kubernetes.Recipe.
const RecipePath = "/etc/sinter/recipe.yaml"

// What a manifest says of when it is to run, which neither Kubernetes nor Kueue
// understand: who lets a suspended JobSet go can read it there.
const (
	annotationWindow = "sinter-dl.github.io/window"
	annotationBegin  = "sinter-dl.github.io/begin"
)

// The statuses that 'sinter train' ends with.
const (
	statusUsage   = 2
	statusStopped = 75
)

// The parts of the API that a manifest needs; apicheck decodes what comes of them by the
// types of JobSet and Kubernetes themselves.
type (
	meta struct {
		Name        string            `yaml:"name,omitempty"`
		Namespace   string            `yaml:"namespace,omitempty"`
		Labels      map[string]string `yaml:"labels,omitempty"`
		Annotations map[string]string `yaml:"annotations,omitempty"`
	}
	configMap struct {
		APIVersion string            `yaml:"apiVersion"`
		Kind       string            `yaml:"kind"`
		Metadata   meta              `yaml:"metadata"`
		Data       map[string]string `yaml:"data"`
	}
	jobSet struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
		Metadata   meta   `yaml:"metadata"`
		Spec       struct {
			Suspend        bool             `yaml:"suspend,omitempty"`
			FailurePolicy  jobSetFailures   `yaml:"failurePolicy"`
			ReplicatedJobs []replicatedJobs `yaml:"replicatedJobs"`
		} `yaml:"spec"`
	}
	jobSetFailures struct {
		MaxRestarts     int          `yaml:"maxRestarts"`
		RestartStrategy string       `yaml:"restartStrategy"`
		Rules           []jobSetRule `yaml:"rules"`
	}
	jobSetRule struct {
		Name    string   `yaml:"name"`
		Action  string   `yaml:"action"`
		Reasons []string `yaml:"onJobFailureReasons"`
	}
	replicatedJobs struct {
		Name     string `yaml:"name"`
		Replicas int    `yaml:"replicas"`
		Template struct {
			Spec jobSpec `yaml:"spec"`
		} `yaml:"template"`
	}
	jobSpec struct {
		Parallelism    int         `yaml:"parallelism"`
		Completions    int         `yaml:"completions"`
		BackoffLimit   int         `yaml:"backoffLimit"`
		ActiveDeadline int64       `yaml:"activeDeadlineSeconds,omitempty"`
		Replacement    string      `yaml:"podReplacementPolicy"`
		Failures       podFailures `yaml:"podFailurePolicy"`
		Template       struct {
			Spec podSpec `yaml:"spec"`
		} `yaml:"template"`
	}
	podFailures struct {
		Rules []podRule `yaml:"rules"`
	}
	podRule struct {
		Action     string         `yaml:"action"`
		ExitCodes  *exitCodes     `yaml:"onExitCodes,omitempty"`
		Conditions []podCondition `yaml:"onPodConditions,omitempty"`
	}
	exitCodes struct {
		Container string `yaml:"containerName"`
		Operator  string `yaml:"operator"`
		Values    []int  `yaml:"values,flow"`
	}
	podCondition struct {
		Type   string `yaml:"type"`
		Status string `yaml:"status"`
	}
	podSpec struct {
		RestartPolicy string            `yaml:"restartPolicy"`
		Grace         int64             `yaml:"terminationGracePeriodSeconds"`
		Priority      string            `yaml:"priorityClassName,omitempty"`
		NodeSelector  map[string]string `yaml:"nodeSelector,omitempty"`
		Security      map[string]any    `yaml:"securityContext"`
		Containers    []container       `yaml:"containers"`
		Volumes       []map[string]any  `yaml:"volumes"`
	}
	container struct {
		Name       string           `yaml:"name"`
		Image      string           `yaml:"image"`
		Command    []string         `yaml:"command"`
		WorkingDir string           `yaml:"workingDir"`
		Env        []variable       `yaml:"env,omitempty"`
		Resources  resources        `yaml:"resources"`
		Security   map[string]any   `yaml:"securityContext"`
		Mounts     []map[string]any `yaml:"volumeMounts"`
	}
	variable struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	}
	resources struct {
		Requests map[string]string `yaml:"requests"`
		Limits   map[string]string `yaml:"limits"`
	}
)

var (
	labelForm    = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)     // RFC 1035
	subdomain    = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`) // RFC 1123
	imageForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$`)
	resourceForm = regexp.MustCompile(`^[a-z0-9.-]+/[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	valueForm    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
)

// A pod is called <job>-train-0-0-<five letters>, and none of that may be longer than 63.
const nameLimit = 63 - len("-train-0-0-xxxxx")

// userID is the user of the container, who owns what it writes into the volume.
const userID = 65532

// Kubernetes writes a JobSet, and before it a ConfigMap if there is a recipe to bring.
//
// How the JobSet starts a run again: a pod that was taken away, or that ended with 75, is
// replaced and not counted. One that ended with 2 ends it all: another try gives the
// same. Any other end makes the Job fail, which is started anew Retries times.
// Job.Begin and Job.Window make it suspended, with an annotation, for Kubernetes has no
// such thing; they cannot be had with a Queue, as Kueue starts what is suspended.
func (j Job) Kubernetes(k Kubernetes) ([]byte, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	if err := j.checkKubernetes(k); err != nil {
		return nil, err
	}
	var b strings.Builder
	j.notes(&b)
	if k.Recipe != nil {
		if err := encode(&b, configMap{"v1", "ConfigMap", meta{Name: j.Name, Namespace: k.Namespace}, map[string]string{path.Base(RecipePath): string(k.Recipe)}}); err != nil {
			return nil, err
		}
		b.WriteString("---\n")
	}
	if err := encode(&b, j.jobSet(k)); err != nil {
		return nil, err
	}
	return []byte(b.String()), nil
}

func (j *Job) checkKubernetes(k Kubernetes) error {
	if len(j.Name) > nameLimit || !labelForm.MatchString(j.Name) {
		return wrong("name", "found %q, expected at most %d small letters, digits and '-', with a letter first and no '-' last", j.Name, nameLimit)
	}
	for _, c := range []struct {
		field, value string
		form         *regexp.Regexp
		optional     bool
	}{
		{"namespace", k.Namespace, labelForm, true}, {"queue", k.Queue, subdomain, true}, {"priority-class", k.PriorityClass, subdomain, true},
		{"claim", k.Claim, subdomain, false}, {"image", k.Image, imageForm, false}, {"gpu-resource", k.GPUResource, resourceForm, j.GPUs == 0},
		{"gpu-type", j.GPUType, valueForm, true},
	} {
		switch {
		case c.value == "" && c.optional:
		case c.value == "":
			return wrong(c.field, "is not said, and there is nothing that could be meant")
		case !c.form.MatchString(c.value):
			return wrong(c.field, "%q is none that Kubernetes takes", c.value)
		}
	}
	switch {
	case !path.IsAbs(k.Mount):
		return wrong("mount", "found %q, expected an absolute path", k.Mount)
	case path.IsAbs(j.Out) && !below(j.Out, k.Mount) || !path.IsAbs(j.Out) && !below(path.Join(k.Mount, j.Out), k.Mount):
		return wrong("out", "%s is not in %s, where the volume is mounted: the run would be lost with its pod", j.Out, k.Mount)
	case j.MIG != "" && k.GPUResource != "nvidia.com/gpu":
		return wrong("mig", "slices are of NVIDIA's GPUs, not of %s", k.GPUResource)
	case j.GPUType != "" && k.GPUResource != "nvidia.com/gpu":
		return wrong("gpu-type", "how nodes with %s are labelled by type is not known; only NVIDIA's are", k.GPUResource)
	case !j.Deadline.IsZero():
		return wrong("deadline", "Kubernetes has none that is a time of day; --time says how long the job may take")
	case (j.Window != "" || !j.Begin.IsZero()) && k.Queue != "":
		return wrong("window", "neither Kubernetes nor Kueue has a begin or windows of time, and Kueue starts the JobSet as soon as its quota allows, suspended or not; leave out --window and --begin, or --queue")
	case len(k.Recipe) > 1<<20-1<<10:
		return wrong("recipe", "has %d bytes, and a ConfigMap holds 1 MiB", len(k.Recipe))
	}
	return nil
}

func below(p, dir string) bool {
	p, dir = path.Clean(p), path.Clean(dir)
	return dir == "/" || strings.HasPrefix(p, dir+"/")
}

func (j *Job) jobSet(k Kubernetes) *jobSet {
	s := &jobSet{APIVersion: "jobset.x-k8s.io/v1alpha2", Kind: "JobSet"}
	s.Metadata = meta{Name: j.Name, Namespace: k.Namespace, Labels: map[string]string{}, Annotations: map[string]string{}}
	if k.Queue != "" {
		s.Metadata.Labels["kueue.x-k8s.io/queue-name"] = k.Queue
		if k.PriorityClass != "" {
			s.Metadata.Labels["kueue.x-k8s.io/priority-class"] = k.PriorityClass
		}
	}
	if j.Window != "" {
		s.Metadata.Annotations[annotationWindow] = j.Window
	}
	if !j.Begin.IsZero() {
		s.Metadata.Annotations[annotationBegin] = j.Begin.UTC().Format(time.RFC3339)
	}
	s.Spec.Suspend = j.Window != "" || !j.Begin.IsZero()
	s.Spec.FailurePolicy = jobSetFailures{
		MaxRestarts: j.Retries, RestartStrategy: "BlockingRecreate", // two pods must not write into one run
		Rules: []jobSetRule{{"nothing_would_change", "FailJobSet", []string{"PodFailurePolicy", "DeadlineExceeded"}}},
	}
	job := replicatedJobs{Name: "train", Replicas: 1}
	job.Template.Spec = jobSpec{
		Parallelism: 1, Completions: 1, ActiveDeadline: int64(math.Ceil(j.Time.Seconds())), Replacement: "Failed",
		Failures: podFailures{[]podRule{
			{Action: "Ignore", Conditions: []podCondition{{"DisruptionTarget", "True"}}},
			{Action: "Ignore", ExitCodes: &exitCodes{"sinter", "In", []int{statusStopped}}},
			{Action: "FailJob", ExitCodes: &exitCodes{"sinter", "In", []int{statusUsage}}},
		}},
	}
	job.Template.Spec.Template.Spec = j.pod(k)
	s.Spec.ReplicatedJobs = []replicatedJobs{job}
	return s
}

func (j *Job) pod(k Kubernetes) podSpec {
	need := map[string]string{"cpu": fmt.Sprint(j.CPUs)}
	if j.Memory > 0 {
		need["memory"] = fmt.Sprintf("%dMi", (j.Memory+1<<20-1)>>20)
	}
	p := podSpec{
		RestartPolicy: "Never", // which podFailurePolicy wants; the Job makes another pod
		Grace:         int64(math.Ceil(j.Grace.Seconds())),
		Security: map[string]any{
			"runAsNonRoot": true, "runAsUser": userID, "runAsGroup": userID, "fsGroup": userID,
			"seccompProfile": map[string]string{"type": "RuntimeDefault"},
		},
	}
	if k.Queue == "" {
		p.Priority = k.PriorityClass
	}
	switch {
	case j.GPUs == 0:
	case j.MIG != "":
		need["nvidia.com/mig-"+strings.ReplaceAll(j.MIG, "+", ".")] = fmt.Sprint(j.GPUs)
	default:
		need[k.GPUResource] = fmt.Sprint(j.GPUs)
		if j.GPUType != "" {
			p.NodeSelector = map[string]string{"nvidia.com/gpu.product": j.GPUType} // of NVIDIA's GPU feature discovery
		}
	}
	c := container{
		Name: "sinter", Image: k.Image, WorkingDir: k.Mount,
		Resources: resources{need, need},
		Security:  map[string]any{"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []string{"ALL"}}},
		Env:       []variable{{"HOME", "/tmp"}},
		Mounts:    []map[string]any{{"name": "work", "mountPath": k.Mount}, {"name": "tmp", "mountPath": "/tmp"}},
	}
	for _, v := range j.Env {
		name, value, _ := strings.Cut(v, "=")
		c.Env = append(c.Env, variable{name, literal(value)})
	}
	for _, a := range j.command() {
		c.Command = append(c.Command, literal(a))
	}
	p.Volumes = []map[string]any{
		{"name": "work", "persistentVolumeClaim": map[string]string{"claimName": k.Claim}},
		{"name": "tmp", "emptyDir": map[string]string{}},
	}
	if k.Recipe != nil {
		p.Volumes = append(p.Volumes, map[string]any{"name": "recipe", "configMap": map[string]string{"name": j.Name}})
		c.Mounts = append(c.Mounts, map[string]any{"name": "recipe", "mountPath": path.Dir(RecipePath)})
	}
	p.Containers = []container{c}
	return p
}

// literal keeps $(NAME) from being replaced by a variable, as happens in commands and in
// the values of variables.
func literal(text string) string { return strings.ReplaceAll(text, "$", "$$") }

// encode writes one YAML document.
func encode(b *strings.Builder, document any) error {
	var text bytes.Buffer
	e := yaml.NewEncoder(&text)
	e.SetIndent(2)
	if err := e.Encode(document); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	if err := e.Close(); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	b.Write(text.Bytes())
	return nil
}
