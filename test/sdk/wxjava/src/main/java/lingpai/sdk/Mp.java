package lingpai.sdk;

import static lingpai.sdk.Driver.APP_ID;
import static lingpai.sdk.Driver.GATEWAY;
import static lingpai.sdk.Driver.KEY;
import static lingpai.sdk.Driver.digest;

import java.io.File;
import java.util.Date;
import java.util.Map;
import me.chanjar.weixin.mp.api.WxMpService;
import me.chanjar.weixin.mp.api.impl.WxMpServiceImpl;
import me.chanjar.weixin.mp.bean.template.WxMpTemplateData;
import me.chanjar.weixin.mp.bean.template.WxMpTemplateMessage;
import me.chanjar.weixin.mp.config.WxMpHostConfig;
import me.chanjar.weixin.mp.config.impl.WxMpDefaultConfigImpl;

/** The driver of weixin-java-mp. */
final class Mp {
  private Mp() {}

  public static void main(String[] args) throws Exception {
    // docs/gateway.md: WxJava mp
    WxMpDefaultConfigImpl config = new WxMpDefaultConfigImpl();
    config.setAppId(APP_ID);
    config.setSecret(KEY);
    config.setHostConfig(WxMpHostConfig.builder().apiHost(GATEWAY).build());
    WxMpService service = new WxMpServiceImpl();
    service.setWxMpConfigStorage(config);
    // docs/gateway.md: end

    Driver.serve(
        Map.of(
            "token", none -> digest(service.getAccessToken()),
            "message", to -> service.getTemplateMsgService().sendTemplateMsg(message(to)),
            "ticket", none -> digest(service.getJsapiTicket()),
            "elsewhere", none -> service.getDataCubeService().getUserSummary(new Date(), new Date()).toString(),
            "upload", path -> service.getMaterialService().mediaUpload("image", new File(path)).getMediaId(),
            "download", mediaId -> digest(service.getMaterialService().mediaDownload(mediaId))));
  }

  private static WxMpTemplateMessage message(String to) {
    return WxMpTemplateMessage.builder()
        .toUser(to)
        .templateId("T1")
        .build()
        .addData(new WxMpTemplateData("first", "hello"));
  }
}
