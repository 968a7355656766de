locals {
  stamp = formatdate("YYYYMMDD-hhmm", timestamp())
  name  = "poolmgr-${replace(var.roles, " ", "-")}-${var.release}-${local.stamp}"
}

source "amazon-ebs" "image" {
  region        = var.aws_region
  instance_type = var.aws_instance_type
  ami_name      = local.name
  ssh_username  = "admin"

  source_ami_filter {
    filters = {
      name                = var.aws_base_name
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = [var.aws_base_owner]
    most_recent = true
  }

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_size           = 16
    volume_type           = "gp3"
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }

  tags = {
    Name    = local.name
    Project = "poolmgr"
    Roles   = var.roles
    Release = var.release
  }
}

source "googlecompute" "image" {
  project_id          = var.google_project
  zone                = var.google_zone
  machine_type        = var.google_machine_type
  source_image_family = var.google_base_image == "" ? var.google_base_family : null
  source_image        = var.google_base_image == "" ? null : var.google_base_image
  disk_size           = 16
  image_name          = local.name
  image_family        = "poolmgr-${replace(var.roles, " ", "-")}"
  ssh_username        = "packer"
}

source "qemu" "image" {
  accelerator          = var.accelerator
  iso_url              = "${var.disk_folder}/disk.raw"
  iso_checksum         = "none"
  disk_image           = true
  format               = "raw"
  memory               = 4096
  cpus                 = 2
  headless             = true
  output_directory     = "build/packer/${local.name}"
  vm_name              = "disk.raw"
  ssh_username         = "root"
  ssh_private_key_file = var.ssh_key
  ssh_timeout          = "20m"
  shutdown_command     = "systemctl poweroff"
  qemuargs = [
    ["-kernel", "${var.disk_folder}/vmlinuz"],
    ["-initrd", "${var.disk_folder}/initrd"],
    ["-append", "root=/dev/vda rw console=ttyS0"],
  ]
}

source "null" "tree" {
  communicator = "none"
}
