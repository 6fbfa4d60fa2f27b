// Package components names the few Dapr components that todoctl's platform uses.
package components

import (
	"github.com/dapr/components-contrib/bindings/smtp"
	nrkubernetes "github.com/dapr/components-contrib/nameresolution/kubernetes"
	"github.com/dapr/components-contrib/nameresolution/mdns"
	"github.com/dapr/components-contrib/nameresolution/sqlite"
	"github.com/dapr/components-contrib/pubsub/kafka"
	sskubernetes "github.com/dapr/components-contrib/secretstores/kubernetes"
	"github.com/dapr/components-contrib/secretstores/local/env"
	"github.com/dapr/components-contrib/secretstores/local/file"
	postgresv1 "github.com/dapr/components-contrib/state/postgresql/v1"
	postgresv2 "github.com/dapr/components-contrib/state/postgresql/v2"
	bindingsloader "github.com/dapr/dapr/pkg/components/bindings"
	nrloader "github.com/dapr/dapr/pkg/components/nameresolution"
	pubsubloader "github.com/dapr/dapr/pkg/components/pubsub"
	ssloader "github.com/dapr/dapr/pkg/components/secretstores"
	stateloader "github.com/dapr/dapr/pkg/components/state"

	"github.com/dapr/dapr/pkg/components"
)

func init() {
	pubsubloader.DefaultRegistry.RegisterComponent(kafka.NewKafka, "kafka")

	// The same version rules as the official daprd: v2 preferred, v1 where no version is given.
	postgres := components.Versioning{
		Preferred: components.VersionConstructor{
			Version: "v2", Constructor: postgresv2.NewPostgreSQLStateStore,
		},
		Others: []components.VersionConstructor{
			{Version: "v1", Constructor: postgresv1.NewPostgreSQLStateStore},
		},
		Default: "v1",
	}
	stateloader.DefaultRegistry.RegisterComponentWithVersions("postgresql", postgres)
	stateloader.DefaultRegistry.RegisterComponentWithVersions("postgres", postgres)

	ssloader.DefaultRegistry.RegisterComponent(file.NewLocalSecretStore, "local.file")
	ssloader.DefaultRegistry.RegisterComponent(env.NewEnvSecretStore, "local.env")
	ssloader.DefaultRegistry.RegisterComponent(sskubernetes.NewKubernetesSecretStore, "kubernetes")

	nrloader.DefaultRegistry.RegisterComponent(mdns.NewResolver, "mdns")
	nrloader.DefaultRegistry.RegisterComponent(sqlite.NewResolver, "sqlite")
	nrloader.DefaultRegistry.RegisterComponent(nrkubernetes.NewResolver, "kubernetes")

	bindingsloader.DefaultRegistry.RegisterOutputBinding(smtp.NewSMTP, "smtp")
}
