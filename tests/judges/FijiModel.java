import ch.systemsx.cisd.hdf5.HDF5Factory;
import ch.systemsx.cisd.hdf5.IHDF5Reader;
import ch.systemsx.cisd.hdf5.IHDF5Writer;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;

/** What JHDF5, which the Fiji plugin reads and writes its models with, finds in one. */
public class FijiModel {
  static final String AT = "/unet_param/";

  public static void main(String[] args) throws Exception {
    if (args[0].equals("write")) {
      write(new File(args[1]), new String(Files.readAllBytes(Paths.get(args[2])), "UTF-8"));
      return;
    }
    IHDF5Reader file = HDF5Factory.openForReading(new File(args[1]));
    if (args[0].equals("weights")) {
      for (String layer : file.object().getGroupMembers("/data"))
        for (String blob : file.object().getGroupMembers("/data/" + layer)) {
          String path = "/data/" + layer + "/" + blob;
          float[] values = file.float32().readMDArray(path).getAsFlatArray();
          double sum = 0;
          for (int k = 0; k < values.length; ++k) sum += (k % 97 + 1) * (double) values[k];
          long[] shape = file.object().getDimensions(path);
          System.out.println(path + " " + Arrays.toString(shape) + " " + sum);
        }
      return;
    }
    for (String name : new String[] {"/.unet-ident", "/model_prototxt", "/solver_prototxt",
        AT + "name", AT + "description", AT + "input_blob_name", AT + "padding",
        AT + "input_dataset_name"})
      System.out.println(name + " " + file.string().read(name).replace("\n", "|"));
    for (String name : new String[] {"downsampleFactor", "padInput", "padOutput"})
      System.out.println(name + " " + Arrays.toString(file.int32().readArray(AT + name)));
    for (String name : new String[] {"normalization_type", "diskRadiusPx"})
      System.out.println(name + " " + file.int32().read(AT + name));
    for (String name : new String[] {"borderWeightFactor", "borderWeightSigmaPx",
        "foregroundBackgroundRatio", "sigma1Px"})
      System.out.println(name + " " + file.float32().read(AT + "pixelwise_loss_weights/" + name));
    System.out.println("element_size_um "
        + Arrays.toString(file.float64().readArray(AT + "element_size_um")));
    System.out.println("classNames "
        + Arrays.toString(file.string().readArray(AT + "classNames")));
  }

  /** Write a definition with the calls that the plugin makes. */
  static void write(File path, String net) {
    IHDF5Writer file = HDF5Factory.configure(path).overwrite()
        .useUTF8CharacterEncoding().writer();
    file.string().write("/.unet-ident", "judge");
    file.string().write("/model_prototxt", net);
    file.string().write("/solver_prototxt", "");
    file.string().write(AT + "name", "\u00b5 net");
    file.string().write(AT + "description", "");
    file.string().write(AT + "input_blob_name", "data3");
    file.string().write(AT + "padding", "mirror");
    file.int32().write(AT + "normalization_type", 2);
    file.float64().writeArray(AT + "element_size_um", new double[] {0.5, 0.25});
    String constants = AT + "pixelwise_loss_weights/";
    file.float32().write(constants + "borderWeightFactor", 40f);
    file.float32().write(constants + "borderWeightSigmaPx", 5f);
    file.float32().write(constants + "foregroundBackgroundRatio", 0.25f);
    file.float32().write(constants + "sigma1Px", 9f);
    file.string().writeArray(AT + "classNames",
        new String[] {"Background", "Zelle \u00e9", "b"});
    file.close();
  }
}
