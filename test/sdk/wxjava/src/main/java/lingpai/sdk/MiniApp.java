package lingpai.sdk;

import static lingpai.sdk.Driver.APP_ID;
import static lingpai.sdk.Driver.GATEWAY;
import static lingpai.sdk.Driver.KEY;
import static lingpai.sdk.Driver.digest;

import cn.binarywang.wx.miniapp.api.WxMaService;
import cn.binarywang.wx.miniapp.api.impl.WxMaServiceImpl;
import cn.binarywang.wx.miniapp.bean.WxMaSubscribeMessage;
import cn.binarywang.wx.miniapp.config.impl.WxMaDefaultConfigImpl;
import java.io.File;
import java.util.Date;
import java.util.Map;

/** The driver of weixin-java-miniapp. */
final class MiniApp {
  private MiniApp() {}

  public static void main(String[] args) throws Exception {
    // docs/gateway.md: WxJava miniapp
    WxMaDefaultConfigImpl config = new WxMaDefaultConfigImpl();
    config.setAppid(APP_ID);
    config.setSecret(KEY);
    config.setApiHostUrl(GATEWAY);
    WxMaService service = new WxMaServiceImpl();
    service.setWxMaConfig(config);
    // docs/gateway.md: end

    Driver.serve(
        Map.of(
            "token", none -> digest(service.getAccessToken()),
            "message", to -> {
              service.getMsgService().sendSubscribeMsg(message(to));
              return "";
            },
            "ticket", none -> digest(service.getJsapiService().getJsapiTicket()),
            "elsewhere", none -> service.getAnalysisService().getDailySummaryTrend(new Date(), new Date()).toString(),
            "upload", path -> service.getMediaService().uploadMedia("image", new File(path)).getMediaId(),
            "download", mediaId -> digest(service.getMediaService().getMedia(mediaId))));
  }

  private static WxMaSubscribeMessage message(String to) {
    return WxMaSubscribeMessage.builder()
        .toUser(to)
        .templateId("T1")
        .build()
        .addData(new WxMaSubscribeMessage.MsgData("thing1", "hello"));
  }
}
