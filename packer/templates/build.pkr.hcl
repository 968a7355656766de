# packer build -only=amazon-ebs.image packer/templates
#
# Every target is made by the same steps, packer/provision/. Nothing secret goes in: a VM has its Redis and its secrets from
# whoever starts it (packer/README.md).

build {
  sources = [
    "source.amazon-ebs.image",
    "source.googlecompute.image",
    "source.qemu.image",
    "source.null.tree",
  ]

  provisioner "file" {
    except      = ["null.tree"]
    source      = var.bundle
    destination = "/tmp/poolmgr.tar"
    generated   = true
  }

  provisioner "shell" {
    except = ["null.tree"]
    environment_vars = [
      "CHROMIUM_VERSION=${var.chromium_version}",
      "WARM_PAGES=${var.warm_pages}",
    ]
    execute_command = "chmod +x {{ .Path }}; {{ .Vars }} $(test $(id -u) = 0 || echo sudo -E) {{ .Path }}"
    inline_shebang  = "/bin/sh -eu"
    inline = [
      "mkdir -p /root/poolmgr && tar -C /root/poolmgr -xf /tmp/poolmgr.tar",
      "/root/poolmgr/packer/provision/all ${var.roles}",
      "rm -rf /root/poolmgr",
    ]
  }

  provisioner "shell-local" {
    only = ["null.tree"]
    environment_vars = [
      "CHROMIUM_VERSION=${var.chromium_version}",
      "WARM_PAGES=${var.warm_pages}",
    ]
    inline = ["packer/in_tree '${var.tree}' '${var.bundle}' ${var.roles}"]
  }
}
