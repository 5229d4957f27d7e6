package apicheck

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"
	kueue "sigs.k8s.io/kueue/pkg/controller/constants"
	"sigs.k8s.io/yaml"

	"github.com/sinter-dl/sinter/queue/cluster"
)

func job() (cluster.Job, cluster.Kubernetes) {
	return cluster.Job{
			Name: "lenet-20261124-020408", Program: "sinter", Train: []string{"lenet", "--data=mnist"}, Out: "runs/a",
			CPUs: 4, Memory: 320 << 20, Grace: 2 * time.Minute, Retries: 3,
		}, cluster.Kubernetes{
			Image: "registry.example.org/sinter:1", Claim: "research", Mount: "/work", GPUResource: "nvidia.com/gpu",
		}
}

// decode reads the documents of a manifest by the real types.
func decode(t *testing.T, text []byte) (*jobset.JobSet, *corev1.ConfigMap) {
	t.Helper()
	var s *jobset.JobSet
	var m *corev1.ConfigMap
	for _, document := range strings.Split(string(text), "\n---\n") {
		var kind struct{ Kind string }
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatal(err)
		}
		var to any
		switch kind.Kind {
		case "JobSet":
			s = new(jobset.JobSet)
			to = s
		case "ConfigMap":
			m = new(corev1.ConfigMap)
			to = m
		default:
			t.Fatalf("a document of the kind %q", kind.Kind)
		}
		if err := yaml.UnmarshalStrict([]byte(document), to); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
	}
	if s == nil {
		t.Fatal("there is no JobSet")
	}
	return s, m
}

func TestManifests(t *testing.T) {
	for name, change := range map[string]func(j *cluster.Job, k *cluster.Kubernetes){
		"plain": func(*cluster.Job, *cluster.Kubernetes) {},
		"all": func(j *cluster.Job, k *cluster.Kubernetes) {
			j.GPUs, j.GPUType, j.Time = 1, "NVIDIA-A100-SXM4-80GB", 90*time.Minute
			j.Env = []string{"A=x: y # $(HOME)", "B="}
			j.Train[0] = cluster.RecipePath
			j.Notes = []string{"one\ntwo"}
			k.Namespace, k.Queue, k.PriorityClass, k.Recipe = "ml", "team-a", "low", []byte("name: \"x\"\n---\n# é\n\tz")
		},
		"slice": func(j *cluster.Job, _ *cluster.Kubernetes) { j.GPUs, j.MIG = 1, "1g.10gb+me" },
		"amd":   func(j *cluster.Job, k *cluster.Kubernetes) { j.GPUs, k.GPUResource = 1, "amd.com/gpu" },
		"suspended": func(j *cluster.Job, _ *cluster.Kubernetes) {
			j.Window, j.Begin = "23:00-06:00 UTC", time.Now().Add(time.Hour)
		},
		"longest": func(j *cluster.Job, _ *cluster.Kubernetes) { j.Name = strings.Repeat("a", 47) },
	} {
		t.Run(name, func(t *testing.T) {
			j, k := job()
			change(&j, &k)
			text, err := j.Kubernetes(k)
			if err != nil {
				t.Fatal(err)
			}
			s, m := decode(t, text)
			if gv := jobset.GroupVersion.String(); s.APIVersion != gv {
				t.Errorf("apiVersion is %s, the types are of %s", s.APIVersion, gv)
			}
			for what, value := range map[string]string{kueue.QueueLabel: k.Queue, kueue.WorkloadPriorityClassLabel: k.PriorityClass} {
				if s.Labels[what] != value {
					t.Errorf("label %s is %q, expected %q", what, s.Labels[what], value)
				}
			}
			for _, v := range s.Labels {
				if bad := validation.IsValidLabelValue(v); bad != nil {
					t.Error(bad)
				}
			}
			if bad := validation.IsDNS1035Label(s.Name + "-train-0-0-abcde"); bad != nil {
				t.Errorf("the name of its pod: %v", bad)
			}
			if suspended := s.Spec.Suspend != nil && *s.Spec.Suspend; suspended != (name == "suspended") {
				t.Errorf("suspended: %v", suspended)
			}
			check(t, s, m, j, k)
		})
	}
}

// check looks at what the manifest means.
func check(t *testing.T, s *jobset.JobSet, m *corev1.ConfigMap, j cluster.Job, k cluster.Kubernetes) {
	t.Helper()
	spec := s.Spec.ReplicatedJobs[0].Template.Spec
	actions := map[string]batchv1.PodFailurePolicyAction{}
	for _, r := range spec.PodFailurePolicy.Rules {
		if r.OnExitCodes != nil {
			actions[fmt.Sprint(r.OnExitCodes.Values)] = r.Action
		}
		for _, c := range r.OnPodConditions {
			actions[string(c.Type)] = r.Action
		}
	}
	for what, want := range map[string]batchv1.PodFailurePolicyAction{
		"[75]": batchv1.PodFailurePolicyActionIgnore, "[2]": batchv1.PodFailurePolicyActionFailJob,
		string(corev1.DisruptionTarget): batchv1.PodFailurePolicyActionIgnore,
	} {
		if actions[what] != want {
			t.Errorf("what becomes of %s is %q, expected %q", what, actions[what], want)
		}
	}
	if *spec.PodReplacementPolicy != batchv1.Failed || s.Spec.FailurePolicy.RestartStrategy != jobset.BlockingRecreate {
		t.Error("two pods could write into the run at one time")
	}
	if rule := s.Spec.FailurePolicy.Rules[0]; rule.Action != jobset.FailJobSet || rule.OnJobFailureReasons[0] != batchv1.JobReasonPodFailurePolicy {
		t.Errorf("the rule is %+v", rule)
	}
	pod := spec.Template.Spec
	if pod.RestartPolicy != corev1.RestartPolicyNever || *pod.TerminationGracePeriodSeconds != int64(j.Grace.Seconds()) {
		t.Errorf("restart policy %s, %d seconds of grace", pod.RestartPolicy, *pod.TerminationGracePeriodSeconds)
	}
	c := pod.Containers[0]
	if got := c.Resources.Limits.Memory().Value(); got != j.Memory {
		t.Errorf("%d bytes of memory, expected %d", got, j.Memory)
	}
	gpu := corev1.ResourceName(k.GPUResource)
	if j.MIG != "" {
		gpu = "nvidia.com/mig-1g.10gb.me"
	}
	if got, ok := c.Resources.Limits[gpu]; ok != (j.GPUs > 0) || got.Value() != int64(j.GPUs) {
		t.Errorf("%v of %s, expected %d", got, gpu, j.GPUs)
	}
	for name := range c.Resources.Limits {
		if bad := validation.IsQualifiedName(string(name)); bad != nil {
			t.Errorf("resource %s: %v", name, bad)
		}
	}
	if len(j.Env) > 0 {
		if c.Env[1].Value != "x: y # $$(HOME)" || c.Env[2].Value != "" {
			t.Errorf("variables: %+v", c.Env)
		}
		if m == nil || m.Name != s.Name || m.Data["recipe.yaml"] != string(k.Recipe) {
			t.Errorf("the recipe is %+v", m)
		}
	}
	mounts := map[string]bool{}
	for _, v := range pod.Volumes {
		mounts[v.Name] = true
	}
	for _, v := range c.VolumeMounts {
		if !mounts[v.Name] {
			t.Errorf("%s is mounted and is no volume", v.Name)
		}
	}
}

// The check itself has to find what is wrong.
func TestStrict(t *testing.T) {
	j, k := job()
	text, err := j.Kubernetes(k)
	if err != nil {
		t.Fatal(err)
	}
	for was, is := range map[string]string{
		"backoffLimit: 0": "backofLimit: 0", "replicas: 1": "replicas: one", "restartPolicy: Never": "restartPolicies: Never", "cpu: \"4\"": "cpu: four",
	} {
		wrong := bytes.Replace(text, []byte(was), []byte(is), 1)
		if bytes.Equal(wrong, text) {
			t.Fatalf("there is no %q", was)
		}
		if err := yaml.UnmarshalStrict(wrong, new(jobset.JobSet)); err == nil {
			t.Errorf("%q is taken for %q", is, was)
		}
	}
}
